"""The classifier: texts in, probabilities of negative, neutral and positive out.

Three steps, so that a server can run each where it belongs: `prepare` (hygiene and tokenising),
`score` (the device), and the packing of `predict`, which is both for callers without a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models import base_model, registry, two_looks
from models.data import LABELS
from models.encoder import load_tokenizer
from models.errors import ArtifactError
from models.hygiene import clean
from models.layouts import Layout, Packed, Padded
from models.ngrams import NGrams, softmax
from models.packing import TOKEN_BUDGET, pack, shortened
from models.predictions import CANARIES, UNREADABLE, Prediction, Prepared
from models.rarity import token_weights
from models.reading import Reading, opened, sentiment_head
from models.registry import Stack
from models.shape import read_trunk
from models.text_ranker.artifact import TextRanker
from models.topics import load_topics
from models.versions import resolved

if TYPE_CHECKING:
    import torch

EMBEDDING_TOKENS = 512
CPU_BUDGET, GPU_BUDGET = TOKEN_BUDGET, 8 * TOKEN_BUDGET


class Classifier:
    """Trunk, adapter, heads and experts on one device. Not thread-safe in `score` and `embed`.

    Attributes:
        ngrams: the expert by itself; None where the artifact has none.
        topics: the topic heads by the names of their label sets.
        packed: whether batches are packed without padding.
        reading: what reads the token ids.

    Args:
        trunk: the trunk's folder.
        artifact: an artifact folder, or one of versions; None takes the packaged one.
        device: "cpu", "cuda", or None for cuda where there is one.
        dtype: "float32", "bfloat16", "int8" (with a second look in bf16, `two_looks`, on CPUs that
            can), or None: the quickest of these whose labels are fp32's but for 2 in 1,000.
        threads: how many compute, None leaves torch's choice.
        engine: "torch", or "openvino": eight-bit weights, for CPUs without bf16 units.
        packed: None packs on CUDA and with bf16 units; elsewhere (tests) attention goes by texts.
        beside: another version in this process: both then hold one trunk in memory.
        text_ranker: a text ranker's folder, or one of versions, for `embed_items`; None: none.

    Raises:
        ArtifactError: an artifact is absent, altered, or made on another trunk.
        EngineMissingError: the engine's library is not installed.
    """

    def __init__(
        self,
        trunk: Path,
        artifact: Path | None = None,
        *,
        device: str | None = None,
        dtype: str | None = None,
        threads: int | None = None,
        engine: str = "torch",
        packed: bool | None = None,
        beside: Classifier | None = None,
        text_ranker: Path | None = None,
    ) -> None:
        folder = resolved(artifact)
        self.manifest = registry.read_manifest(folder)
        if self.manifest.heads.get("sentiment") != LABELS:
            raise ArtifactError(f"{folder} has no sentiment head with the labels {LABELS}")
        base_model.check(folder, self.manifest, trunk)
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        if engine == "openvino":
            device = "cpu"
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._folder, self._tokenizer = trunk, load_tokenizer(trunk, EMBEDDING_TOKENS)
        self.budget = GPU_BUDGET if self.device.startswith("cuda") else CPU_BUDGET
        loaded = read_trunk(trunk)
        given = folder, self.manifest, self.device, dtype, engine
        read = opened(loaded, *given, beside.reading if beside else None)
        self.reading: Reading = read
        self._trunk, self._reader, self.dtype = read.trunk, read.reader, read.dtype
        self._pad_id = loaded[0].pad_token_id
        self.packed = self._reader.packs if packed is None else packed
        self.ngrams: NGrams | None = None
        self._stack = Stack(0.0, 1.0)
        if self.manifest.stack is not None:
            self.ngrams, self._stack = NGrams.load(folder / registry.NGRAMS), self.manifest.stack
        head = sentiment_head(folder, read.trunk.width)
        self._weight, self._bias = (each.to(self.device) for each in head)
        self.topics = load_topics(folder, self.manifest)
        self.text_ranker: TextRanker | None = None
        if text_ranker is not None:
            self.text_ranker = TextRanker(text_ranker, loaded[1], *read.of, read.trunk)

    @property
    def model_version(self) -> str:
        """Names the model in scored comments."""
        return self.manifest.version

    @property
    def embedding_version(self) -> str:
        """Names what `embed` answers: the trunk, and how a text's tokens are averaged."""
        return self.manifest.trunk + ("" if self._rarity is None else "+rarity")

    @property
    def embedding_prefix(self) -> str:
        """What a text begins with that is to be embedded: whoever asks puts it there."""
        return base_model.embedding_prefix(self.manifest)

    @property
    def items_version(self) -> str:
        """Names what `embed_items` answers: the text ranker's, or the trunk's as it is."""
        return self.ranker_version or self.embedding_version

    @property
    def ranker_version(self) -> str:
        """Names the text ranker; empty: none."""
        return self.text_ranker.manifest.version if self.text_ranker else ""

    @property
    def width(self) -> int:
        """Of a vector that the heads read."""
        return int(self._weight.shape[1])

    def prepare(self, texts: Sequence[object], topics: bool = False) -> list[Prepared]:
        """Clean and tokenise; an item that is no text, or has nothing to read, has no ids.

        Args:
            topics: the topic heads are to be asked, too.
        """
        cleaned = [clean(text) for text in texts]
        before, most = self.manifest.text_prefix, self.manifest.max_tokens
        encoded = self._tokenizer.encode_batch([before + each.text for each in cleaned])
        return [
            Prepared(
                [] if each.flagged else shortened(tokens.ids, most),
                (negative, neutral, positive),
                each.text if topics else "",
            )
            for each, tokens, (negative, neutral, positive) in zip(
                cleaned, encoded, self._expert([each.text for each in cleaned]), strict=True
            )
        ]

    def _expert(self, texts: Sequence[str]) -> list[list[float]]:
        if self.ngrams is None:
            return [[0.0, 0.0, 0.0]] * len(texts)
        added: list[list[float]] = self.ngrams.trusted(texts, self._stack).tolist()
        return added

    def vectors(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """What every head reads, fp32 [rows, hidden], of one batch of token ids: adapter on."""
        import torch

        with torch.inference_mode():
            return self._reader.vectors(self._layout(rows))

    def _layout(self, rows: Sequence[Sequence[int]]) -> Layout:
        if self.packed:
            return Packed(rows, self.device)
        return Padded(rows, self._pad_id, self.device)

    def batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Rows of these lengths in batches for the device, as indices."""
        return pack(lengths, self.budget, padded=not self.packed)

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The trunk's logits [rows, 3] of one batch of token ids, in the order of `LABELS`."""
        return self._sentiment(self.vectors(rows))

    def _sentiment(self, vectors: torch.Tensor) -> NDArray[np.float32]:
        logits: NDArray[np.float32]
        if vectors.is_cpu:  # torch would wake its threads for so little, and they go on waiting
            logits = vectors.numpy() @ self._weight.numpy().T + self._bias.numpy()
        else:
            logits = (vectors @ self._weight.T + self._bias).cpu().numpy()
        return logits

    def score(self, rows: Sequence[Prepared]) -> list[Prediction]:
        """One batch of prepared texts on the device.

        Raises:
            ArithmeticError: a logit is not finite.
        """
        if (quick := self.reading.quick) is None:
            vectors = self.vectors([row.ids for row in rows])
        else:
            vectors = two_looks.vectors(rows, quick, self.vectors, self._shares)
        shares, topics = self._shares(vectors, rows), self._topics(rows, vectors)
        return [
            Prediction(negative, neutral, positive, LABELS[best], False, topics.get(index, {}))
            for index, ((negative, neutral, positive), best) in enumerate(
                zip(shares.tolist(), shares.argmax(axis=1).tolist(), strict=True)
            )
        ]

    def _shares(self, vectors: torch.Tensor, rows: Sequence[Prepared]) -> NDArray[np.float32]:
        experts = np.array([row.ngrams for row in rows], dtype=np.float32)
        logits = self._stack.temperature * (self._sentiment(vectors) + experts)
        if not np.isfinite(logits).all():
            raise ArithmeticError("the model answered with something that is no number")
        return softmax(logits)

    def _topics(
        self, rows: Sequence[Prepared], vectors: torch.Tensor
    ) -> dict[int, dict[str, list[float]]]:
        """Index of a row that asks → its probabilities by topic head."""
        asking = [index for index, row in enumerate(rows) if row.text]
        if not asking or not self.topics:
            return {}
        read, texts = vectors[asking].cpu().numpy(), [rows[index].text for index in asking]
        shares = {name: head.shares(read, texts).tolist() for name, head in self.topics.items()}
        return {
            index: {name: each[place] for name, each in shares.items()}
            for place, index in enumerate(asking)
        }

    def predict(self, texts: Sequence[object], topics: bool = False) -> list[Prediction]:
        """Predictions in the order of the texts; whatever an item is, the others are answered."""
        prepared = self.prepare(texts, topics)
        answers = [UNREADABLE] * len(prepared)
        readable = [index for index, each in enumerate(prepared) if not each.flagged]
        for batch in self.batches([len(prepared[index].ids) for index in readable]):
            places = [readable[index] for index in batch]
            scored = self.score([prepared[place] for place in places])
            for place, prediction in zip(places, scored, strict=True):
                answers[place] = prediction
        return answers

    def operations(self, lengths: Sequence[int], of_trunk: bool = False) -> float:
        """Floating-point operations of texts of so many tokens, in the layers that are kept."""
        layers = self._trunk.shape.layers
        kept = layers if of_trunk else len(self.manifest.layers) or layers
        return self._trunk.operations(lengths) * kept / layers

    def warm_up(self) -> None:
        """The first calls lay out weights and choose kernels: let no comment wait for them."""
        rows = self.prepare(CANARIES)
        longest = max(len(row.ids) for row in rows)
        for batch in (rows[:1], rows, rows * (self.budget // (len(rows) * longest))):
            self.score(batch)
        for embed in (self.embed, self.embed_items) if self.text_ranker else (self.embed,):
            embed([row.ids for row in rows])

    def works(self) -> bool:
        """Whether the device still answers a text that it could answer at start."""
        try:
            self.score(self.prepare(CANARIES[:1]))
        except Exception:  # whatever it is, it does not
            return False
        return True

    @cached_property
    def _rarity(self) -> torch.Tensor | None:
        import torch

        found = token_weights(self._folder)
        return None if found is None else torch.from_numpy(found).to(self._weight.device)

    def prepare_embedding(
        self, texts: Sequence[str], most: int = EMBEDDING_TOKENS
    ) -> list[list[int]]:
        """Token ids for `embed`, at most so many; texts may be longer here (512 tokens)."""
        encoded = self._tokenizer.encode_batch([clean(text).text for text in texts])
        return [shortened(each.ids, most) for each in encoded]

    def embed(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit vectors [rows, hidden] of one batch of token ids from the trunk alone.

        The mean weighs tokens by their rarity (`rarity`): what every text has, finds none.
        """
        import torch

        with torch.inference_mode():
            vectors = self._trunk.vectors(self._layout(rows), self._rarity)
            unit: NDArray[np.float32] = torch.nn.functional.normalize(vectors).cpu().numpy()
        return unit

    def embed_items(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """As `embed`, for what items say: the text ranker's vectors where there is one."""
        if self.text_ranker is None:
            return self.embed(rows)
        return self.text_ranker.embed(self._layout(self.text_ranker.cut(rows)), self._rarity)
