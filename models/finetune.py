"""Fine-tuning: LoRA matrices and a sentiment head on the frozen trunk.

The recipe is the one measured for this trunk: r = 16, alpha = 32 on query, key, value and dense;
AdamW, learning rate 8e-4 (head 1e-3), weight decay .01, 8 % warm-up, linear decay, clipping at 1;
bf16 autocast, batches of 2,048 tokens of like length, texts cut at 80 tokens; eager attention and
no dropout in the trunk (2.4 times as fast on a CPU as the defaults).

Rows of a two-class set say nothing about neutral: their neutral logit is set to -1e4 before the
softmax, so that the loss never pushes it down.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models import registry
from models.data import LABELS, NEUTRAL, LabelledSet, load_sets
from models.encoder import as_tensors, hidden_size, load_tokenizer, load_trunk, pad_id, pooled
from models.packing import pack, pack_shuffled
from models.registry import Adapter, Manifest
from models.sampling import TrainingRow, draw

if TYPE_CHECKING:
    import torch

Method = Literal["lora", "head"]
Progress = Callable[[int, int, float], None]

ROWS, EPOCHS, MAX_TOKENS = 14_000, 2, 80
LORA = Adapter(rank=16, alpha=32, targets=("query", "key", "value", "dense"))
LORA_RATE, HEAD_RATE, WEIGHT_DECAY, WARM_UP_SHARE = 8e-4, 1e-3, 0.01, 0.08
PROBE_RATE, PROBE_DECAY, PROBE_EPOCHS, PROBE_BATCH = 3e-3, 0.02, 30, 256
HEAD_DROPOUT, MASKED = 0.1, -1e4


def train_sentiment(
    data: Path,
    out: Path,
    trunk: Path,
    *,
    without: Sequence[str] = (),
    method: Method = "lora",
    rows: int = ROWS,
    epochs: int = EPOCHS,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = lambda step, steps, loss: None,
) -> tuple[Manifest, list[LabelledSet]]:
    """Train on the training parts of the sets under `data` and write an artifact to `out`.

    Args:
        data: a folder of known sets, or a CSV with the columns text and label.
        trunk: the trunk's folder.
        without: sets to leave out entirely.
        method: "lora", or "head" for a linear head on the frozen trunk (minutes less, weaker).
        rows: rows drawn over all sets, by n^0.3.
        threads: torch threads; None leaves torch's choice.
        progress: called with (step, steps, mean loss).

    Returns:
        The manifest (without scores: see `evaluate`), and the sets with their test parts.

    Raises:
        DataError: the comments cannot be read.
    """
    # Before torch is imported: a wrong path is told at once.
    sets = load_sets(data, without)
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    random.seed(seed)
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    chosen, counts = draw(sets, rows, generator)
    session = Session(trunk, chosen, method)
    session.train(epochs, generator, progress)
    adapter, heads = session.weights()
    manifest = Manifest(
        format=registry.FORMAT,
        trunk=trunk.name,
        max_tokens=MAX_TOKENS,
        heads={"sentiment": LABELS},
        adapter=LORA if method == "lora" else None,
        method=method,
        seed=seed,
        epochs=epochs,
        trained_rows=counts,
        scores={},
        sha256=registry.write_tensors(out, adapter, heads),
    )
    registry.write_manifest(out, manifest)
    return manifest, sets


class Session:
    """Trunk, head and encoded rows of one training run."""

    def __init__(self, trunk: Path, rows: Sequence[TrainingRow], method: Method) -> None:
        import torch

        self.method = method
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        tokenizer = load_tokenizer(trunk, MAX_TOKENS)
        self.ids = [each.ids for each in tokenizer.encode_batch([row.text for row in rows])]
        self.lengths = [len(ids) for ids in self.ids]
        self.labels = torch.tensor([row.label for row in rows])
        self.mask = torch.zeros(len(rows), len(LABELS))
        self.mask[torch.tensor([row.two_class for row in rows]), NEUTRAL] = MASKED
        self.trunk = load_trunk(trunk)
        self.pad_id = pad_id(self.trunk)
        self.head = torch.nn.Linear(hidden_size(self.trunk), len(LABELS))
        if method == "lora":
            self.trunk = _with_lora(self.trunk)
        self.trunk.to(self.device)
        self.head.to(self.device)

    def train(self, epochs: int, generator: np.random.Generator, progress: Progress) -> None:
        """By the session's method, `epochs` times over the rows."""
        run = self.train_lora if self.method == "lora" else self.train_head
        run(epochs, generator, progress)

    def vectors(self, batch: Sequence[int]) -> torch.Tensor:
        """Sentence vectors in fp32 [rows, hidden], computed in bf16 where autocast does so."""
        import torch

        ids, mask = as_tensors([self.ids[index] for index in batch], self.pad_id, self.device)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            vectors = pooled(self.trunk, ids, mask)
        return vectors.float()

    def loss(self, vectors: torch.Tensor, batch: Sequence[int]) -> torch.Tensor:
        """Cross-entropy over the classes that each row's set knows."""
        import torch

        index = torch.as_tensor(batch)
        logits = self.head(vectors) + self.mask[index].to(self.device)
        return torch.nn.functional.cross_entropy(logits, self.labels[index].to(self.device))

    def train_lora(self, epochs: int, generator: np.random.Generator, progress: Progress) -> None:
        """Adapter and head together, `epochs` times over the rows."""
        import torch

        plan = [batch for _ in range(epochs) for batch in pack_shuffled(self.lengths, generator)]
        adapter = [each for each in self.trunk.parameters() if each.requires_grad]
        head = list(self.head.parameters())
        optimiser = torch.optim.AdamW(
            [{"params": adapter, "lr": LORA_RATE}, {"params": head, "lr": HEAD_RATE}],
            weight_decay=WEIGHT_DECAY,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _warm_up_then_down(len(plan)))
        mean = 0.0
        for step, batch in enumerate(plan, start=1):
            dropped = torch.nn.functional.dropout(self.vectors(batch), HEAD_DROPOUT)
            loss = self.loss(dropped, batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(adapter + head, 1.0)
            optimiser.step()
            schedule.step()
            mean += (loss.item() - mean) / min(step, 50)
            progress(step, len(plan), mean)

    def train_head(self, epochs: int, generator: np.random.Generator, progress: Progress) -> None:
        """The head alone, on vectors computed once; `epochs` counts tens of passes over them."""
        import torch

        vectors = torch.zeros(len(self.ids), self.head.in_features, device=self.device)
        plan = pack(self.lengths)
        with torch.inference_mode():
            for step, batch in enumerate(plan, start=1):
                vectors[batch] = self.vectors(batch)
                progress(step, len(plan), float("nan"))
        mean, spread = vectors.mean(0), vectors.std(0).clamp_min(1e-6)
        scaled = (vectors - mean) / spread
        optimiser = torch.optim.AdamW(
            self.head.parameters(), lr=PROBE_RATE, weight_decay=PROBE_DECAY
        )
        for _ in range(epochs * PROBE_EPOCHS // EPOCHS):
            order = generator.permutation(len(scaled))
            for start in range(0, len(order), PROBE_BATCH):
                batch = order[start : start + PROBE_BATCH].tolist()
                optimiser.zero_grad(set_to_none=True)
                self.loss(scaled[batch], batch).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        # The scaling goes into the layer, so that serving sees one kind of head.
        with torch.no_grad():
            self.head.weight /= spread
            self.head.bias.sub_(self.head.weight @ mean)

    def weights(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Adapter under peft's names (empty for method "head"), and the head."""
        adapter = {
            name.replace(".default.", "."): parameter
            for name, parameter in self.trunk.named_parameters()
            if "lora_" in name
        }
        state = self.head.state_dict()
        return adapter, {f"sentiment.{name}": tensor for name, tensor in state.items()}


def _with_lora(trunk: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    # The trunk stays in evaluation mode, as loaded: its own dropout is off.
    config = LoraConfig(
        r=LORA.rank,
        lora_alpha=LORA.alpha,
        lora_dropout=0.0,
        target_modules=list(LORA.targets),
        bias="none",
    )
    return get_peft_model(trunk, config)


def _warm_up_then_down(steps: int) -> Callable[[int], float]:
    warm = max(1, int(WARM_UP_SHARE * steps))
    return lambda step: min((step + 1) / warm, max(0.0, (steps - step) / (steps - warm + 1)))
