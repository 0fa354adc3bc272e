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
from typing import TYPE_CHECKING, Literal

import numpy as np

from models import registry
from models.data import LABELS, NEUTRAL, LabelledSet, load_sets
from models.encoder import as_tensors, hidden_size, load_tokenizer, load_trunk, pad_id, pooled
from models.lora import LORA, warm_up_then_down, with_lora
from models.options import (
    AS_MEASURED,
    CHECKS,
    HELD_SHARE,
    MOST_HELD,
    Options,
    Patience,
    Perturbation,
    balanced,
    thinned,
)
from models.packing import pack, pack_shuffled
from models.registry import Manifest
from models.sampling import TrainingRow, draw

if TYPE_CHECKING:
    import torch

Method = Literal["lora", "head"]
Progress = Callable[[int, int, float], None]

ROWS, EPOCHS, MAX_TOKENS = 14_000, 2, 80
LORA_RATE, HEAD_RATE, WEIGHT_DECAY = 8e-4, 1e-3, 0.01
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
    options: Options = AS_MEASURED,
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
        options: what else may be switched on for method "lora".
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
    session = Session(trunk, chosen, method, options)
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

    def __init__(
        self,
        trunk: Path,
        rows: Sequence[TrainingRow],
        method: Method,
        options: Options = AS_MEASURED,
    ) -> None:
        import torch

        self.options = options
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
        self.weights_of_labels = torch.ones(len(LABELS))
        if options.class_weights:
            self.weights_of_labels = torch.tensor(balanced([r.label for r in rows], len(LABELS)))
        if method == "lora":
            self.trunk = with_lora(self.trunk, options.frozen_layers)
        self.trunk.to(self.device)
        self.head.to(self.device)

    def train(self, epochs: int, generator: np.random.Generator, progress: Progress) -> None:
        """By the session's method, `epochs` times over the rows."""
        run = self.train_lora if self.method == "lora" else self.train_head
        run(epochs, generator, progress)

    def vectors(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Sentence vectors in fp32 [rows, hidden], computed in bf16 where autocast does so.

        Args:
            rows: token ids.
        """
        import torch

        ids, mask = as_tensors(rows, self.pad_id, self.device)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            vectors = pooled(self.trunk, ids, mask)
        return vectors.float()

    def loss(self, vectors: torch.Tensor, batch: Sequence[int]) -> torch.Tensor:
        """Cross-entropy over the classes that each row's set knows."""
        import torch

        index = torch.as_tensor(batch)
        logits = self.head(vectors) + self.mask[index].to(self.device)
        return torch.nn.functional.cross_entropy(
            logits, self.labels[index].to(self.device), self.weights_of_labels.to(self.device)
        )

    def train_lora(self, epochs: int, generator: np.random.Generator, progress: Progress) -> None:
        """Adapter and head together, `epochs` times over the rows."""
        import torch

        held, kept = self._held_back(generator)
        lengths = [self.lengths[index] for index in kept]
        plan = [
            [kept[place] for place in batch]
            for _ in range(epochs)
            for batch in pack_shuffled(lengths, generator)
        ]
        adapter = [each for each in self.trunk.parameters() if each.requires_grad]
        trained = [*adapter, *self.head.parameters()]
        optimiser = torch.optim.AdamW(
            [
                {"params": adapter, "lr": LORA_RATE},
                {"params": trained[len(adapter) :], "lr": HEAD_RATE},
            ],
            weight_decay=WEIGHT_DECAY,
        )
        every = self.options.accumulate
        steps = -(-len(plan) // every)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warm_up_then_down(steps))
        size = self.options.adversarial
        moved = Perturbation(self.trunk.get_input_embeddings(), size) if size else None
        patience = Patience(trained, self.options.patience) if held else None
        look = max(1, len(plan) // (epochs * CHECKS))
        mean = 0.0
        for step, batch in enumerate(plan, start=1):
            loss = self._backward(batch, generator, moved)
            if step % every == 0 or step == len(plan):
                torch.nn.utils.clip_grad_norm_(trained, 1.0)
                optimiser.step()
                schedule.step()
                optimiser.zero_grad(set_to_none=True)
            mean += (loss - mean) / min(step, 50)
            progress(step, len(plan), mean)
            if patience and step % look == 0 and patience.over(self._loss_of(held)):
                break
        if patience:
            patience.restore()

    def _backward(
        self, batch: Sequence[int], generator: np.random.Generator, moved: Perturbation | None
    ) -> float:
        """Add the gradients of a batch, and of the same moved up its loss; its own loss."""
        import torch

        ids = [self.ids[index] for index in batch]
        if share := self.options.thinning:
            ids = [thinned(each, generator) if generator.random() < share else each for each in ids]

        def once() -> float:
            dropped = torch.nn.functional.dropout(self.vectors(ids), HEAD_DROPOUT)
            loss = self.loss(dropped, batch)
            (loss / self.options.accumulate).backward()  # type: ignore[no-untyped-call]
            return loss.item()

        loss = once()
        if moved is not None:
            with moved:
                once()
        return loss

    def _held_back(self, generator: np.random.Generator) -> tuple[list[int], list[int]]:
        """Rows to watch the loss on, none unless training may stop early, and rows to train on."""
        if not self.options.patience:
            return [], list(range(len(self.ids)))
        order = generator.permutation(len(self.ids)).tolist()
        most = min(MOST_HELD, max(1, int(HELD_SHARE * len(order))))
        return order[:most], order[most:]

    def _loss_of(self, rows: Sequence[int]) -> float:
        import torch

        total = 0.0
        with torch.no_grad():
            for places in pack([self.lengths[index] for index in rows]):
                batch = [rows[place] for place in places]
                vectors = self.vectors([self.ids[index] for index in batch])
                total += len(batch) * self.loss(vectors, batch).item()
        return total / len(rows)

    def train_head(self, epochs: int, generator: np.random.Generator, progress: Progress) -> None:
        """The head alone, on vectors computed once; `epochs` counts tens of passes over them."""
        import torch

        vectors = torch.zeros(len(self.ids), self.head.in_features, device=self.device)
        plan = pack(self.lengths)
        with torch.inference_mode():
            for step, batch in enumerate(plan, start=1):
                vectors[batch] = self.vectors([self.ids[index] for index in batch])
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
