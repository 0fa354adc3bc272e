"""The classifier: texts in, probabilities of negative, neutral and positive out.

Three steps, so that a server can run each where it belongs: `prepare` (hygiene and tokenising),
`score` (the device), and the packing of `predict`, which is both for callers without a server.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import registry
from models.data import LABELS, NEUTRAL
from models.encoder import as_tensors, load_tokenizer, load_trunk, pad_id, pooled, with_adapter
from models.errors import ArtifactError
from models.hygiene import clean
from models.packing import TOKEN_BUDGET, pack

if TYPE_CHECKING:
    import torch

EMBEDDING_TOKENS = 512
# bf16 is taken where it is faster and moves no probability by more than this.
BF16_TOLERANCE = 0.05
CANARIES = (
    "The lessons are clear and the teacher is wonderful.",
    "Terrible support, I want my money back.",
    "It starts on Monday at nine.",
    "课程内容很充实，老师讲得很好。",
    "质量太差了，浪费钱。",
    "El curso dura tres semanas.",
)


class Prediction(Struct, frozen=True):
    """Probabilities that sum to 1, the likeliest label, and whether there was nothing to read."""

    negative: float
    neutral: float
    positive: float
    label: str
    flagged: bool


class Prepared(Struct, frozen=True):
    """A cleaned, tokenised text. `ids` is empty where the text is flagged."""

    ids: list[int]

    @property
    def flagged(self) -> bool:
        """There is nothing to read: the answer is neutral without asking the model."""
        return not self.ids


UNREADABLE = Prediction(negative=0.0, neutral=1.0, positive=0.0, label="neutral", flagged=True)


class Classifier:
    """Trunk, adapter and head on one device. Not thread-safe in `score` and `embed`.

    Args:
        trunk: the trunk's folder.
        artifact: an artifact folder; None takes the packaged one.
        device: "cpu", "cuda", or None for cuda where there is one.
        dtype: "float32", "bfloat16", or None: bf16 on a GPU, and on a CPU where it passes (faster
            than fp32, and no probability of the canary texts moves by more than .05).
        threads: torch's threads, None leaves torch's choice.

    Raises:
        ArtifactError: the artifact is absent, altered, or made on another trunk.
    """

    def __init__(
        self,
        trunk: Path,
        artifact: Path | None = None,
        *,
        device: str | None = None,
        dtype: str | None = None,
        threads: int | None = None,
    ) -> None:
        folder = artifact or registry.packaged_artifact()
        self.manifest = registry.read_manifest(folder)
        if self.manifest.trunk != trunk.name:
            raise ArtifactError(
                f"{folder} was made on the trunk {self.manifest.trunk}, here is {trunk.name}: "
                "train it again with `springtide train sentiment`"
            )
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._tokenizer = load_tokenizer(trunk, self.manifest.max_tokens)
        self._embedding_tokenizer = load_tokenizer(trunk, EMBEDDING_TOKENS)
        self._trunk = load_trunk(trunk)
        self._pad_id = pad_id(self._trunk)
        self._model = self._merged(folder)
        heads = registry.read_tensors(folder / registry.HEADS)
        self._weight, self._bias = heads["sentiment.weight"], heads["sentiment.bias"]
        self.dtype = "float32"
        self._place(dtype)

    @property
    def model_version(self) -> str:
        """Names the model in scored comments."""
        return self.manifest.version

    def prepare(self, texts: Sequence[object]) -> list[Prepared]:
        """Clean and tokenise; an item that is no text, or has nothing to read, has no ids."""
        cleaned = [clean(text) for text in texts]
        encoded = self._tokenizer.encode_batch([each.text for each in cleaned])
        return [
            Prepared([] if each.flagged else tokens.ids)
            for each, tokens in zip(cleaned, encoded, strict=True)
        ]

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits [rows, 3] of one batch of token ids, in the order of `LABELS`."""
        import torch

        with torch.inference_mode():
            ids, mask = as_tensors(rows, self._pad_id, self.device)
            vectors = pooled(self._model, ids, mask).float()
            logits: NDArray[np.float32] = (vectors @ self._weight.T + self._bias).cpu().numpy()
        return logits

    def score(self, rows: Sequence[Sequence[int]]) -> list[Prediction]:
        """One batch of token ids on the device."""
        logits = self.logits(rows)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = powers / powers.sum(axis=1, keepdims=True)
        return [
            Prediction(*map(float, share), label=LABELS[int(best)], flagged=False)
            for share, best in zip(shares, shares.argmax(axis=1), strict=True)
        ]

    def predict(self, texts: Sequence[object]) -> list[Prediction]:
        """Predictions in the order of the texts; whatever an item is, the others are answered."""
        prepared = self.prepare(texts)
        answers = [UNREADABLE] * len(prepared)
        readable = [index for index, each in enumerate(prepared) if not each.flagged]
        for batch in pack([len(prepared[index].ids) for index in readable]):
            places = [readable[index] for index in batch]
            scored = self.score([prepared[place].ids for place in places])
            for place, prediction in zip(places, scored, strict=True):
                answers[place] = prediction
        return answers

    def prepare_embedding(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids for `embed`; texts may be longer here (512 tokens)."""
        encoded = self._embedding_tokenizer.encode_batch([clean(text).text for text in texts])
        return [each.ids for each in encoded]

    def embed(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit vectors [rows, hidden] of one batch of token ids from the trunk alone."""
        import torch

        with torch.inference_mode():
            ids, mask = as_tensors(rows, self._pad_id, self.device)
            vectors = pooled(self._trunk, ids, mask).float()
            unit: NDArray[np.float32] = torch.nn.functional.normalize(vectors).cpu().numpy()
        return unit

    def _merged(self, folder: Path) -> Any:
        adapter = self.manifest.adapter
        if adapter is None:
            return self._trunk
        tensors = registry.read_tensors(folder / registry.ADAPTER)
        return with_adapter(self._trunk, tensors, adapter.alpha / adapter.rank)

    def _place(self, dtype: str | None) -> None:
        """Move to the device in the asked precision, or in the one that passes."""
        if dtype is None and self.device == "cpu":
            dtype = "bfloat16" if self._bf16_passes() else "float32"
        self._cast(dtype or "bfloat16")

    def _cast(self, dtype: str) -> None:
        import torch

        # The model first: it shares the trunk's embeddings.
        self._model.to(self.device, getattr(torch, dtype))
        self._trunk.to(self.device, getattr(torch, dtype))
        self._weight, self._bias = self._weight.to(self.device), self._bias.to(self.device)
        self.dtype = dtype

    def _bf16_passes(self) -> bool:
        """Try bf16 on the canary texts: processors without bf16 units are slower with it."""
        rows = [each.ids for each in self.prepare(CANARIES)]
        batch = rows * (TOKEN_BUDGET // (len(rows) * max(map(len, rows))))
        plain, plain_seconds = self._timed(batch)
        self._cast("bfloat16")
        halved, halved_seconds = self._timed(batch)
        moved = max(
            abs(one.negative - other.negative) + abs(one.positive - other.positive)
            for one, other in zip(plain, halved, strict=True)
        )
        return halved_seconds < plain_seconds and moved <= BF16_TOLERANCE

    def _timed(self, batch: Sequence[Sequence[int]]) -> tuple[list[Prediction], float]:
        self.score(batch[: len(CANARIES)])  # the first call lays out the weights
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            answers = self.score(batch)
            seconds.append(time.perf_counter() - started)
        return answers, min(seconds)
