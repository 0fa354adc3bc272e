"""One training run: the trunk as a method changes it, a head, and encoded rows.

The recipe is the one measured for the packaged trunk: AdamW, the rates of `methods` (head 1e-3),
weight decay .01, 8 % warm-up, linear decay, clipping at 1; bf16 autocast, batches of 2,048 tokens
of like length, texts cut at 80 tokens (or what the trunk has places for); eager attention and no
dropout in the trunk (2.4 times as fast on a CPU as the defaults).

The head has the three outputs of sentiment and, where topics are trained beside it, those of their
label sets. A row says nothing about outputs that its set does not know, another label set's or a
two-class set's neutral: those logits are set to -1e4 before the softmax, so that the loss never
pushes them down. Where nobody knows neutral it is -1e4 in the head itself: left as it was drawn it
would be the answer here and there, and of that no measure of two-class sets tells. Distillation
(Hinton, Vinyals, Dean, 1503.02531): half of the loss is the cross-entropy with a teacher's
probabilities, both softened by T = 2; a teacher knows how neutral a row of a two-class set is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models import methods
from models.data import LABELS, NEUTRAL
from models.encoder import as_tensors, hidden_size, load_tokenizer, load_trunk, pad_id, pooled
from models.errors import ModelError
from models.fitting import Fitting, Place, Progress
from models.methods import Method
from models.options import (
    AS_MEASURED,
    HELD_SHARE,
    MOST_HELD,
    Options,
    Perturbation,
    balanced,
    thinned,
)
from models.packing import pack
from models.pruning import keep_layers, spread
from models.registry import Adapter
from models.sampling import TrainingRow
from models.shape import read_shape

if TYPE_CHECKING:
    import torch

MAX_TOKENS, FEWEST_TOKENS = 80, 16
PROBE_RATE, PROBE_DECAY, PROBE_PASSES, PROBE_BATCH = 3e-3, 0.02, 15, 256
HEAD_DROPOUT, MASKED = 0.1, -1e4
UNUSED = 1e-3  # of the usual spread: MiniLM leaves three of its 384 dimensions as they are
TAUGHT, SOFTENED = 0.5, 2.0


class Session:
    """Trunk, head and encoded rows.

    Attributes:
        layers: the trunk's layers that are kept; empty: all.
        max_tokens: of a text.

    Args:
        lesson: a teacher's logits [rows, 3] to learn from beside the labels.
        text_prefix: goes before every text.
    """

    def __init__(
        self,
        trunk: Path,
        rows: Sequence[TrainingRow],
        method: Method,
        options: Options = AS_MEASURED,
        lesson: NDArray[np.float32] | None = None,
        text_prefix: str = "",
    ) -> None:
        import torch

        self.options = options
        self.method = method
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        taken = methods.PREFIX_TOKENS if method == "prefix" else 0
        self.max_tokens = min(MAX_TOKENS, read_shape(trunk).positions - taken)
        if self.max_tokens < FEWEST_TOKENS:
            raise ModelError(f"{trunk} has no places for a text of {FEWEST_TOKENS} tokens")
        tokenizer = load_tokenizer(trunk, self.max_tokens)
        texts = [text_prefix + row.text for row in rows]
        self.ids = [each.ids for each in tokenizer.encode_batch(texts)]
        self.lengths = [len(ids) for ids in self.ids]
        self.labels = torch.tensor([row.label for row in rows])
        firsts, ends = torch.tensor([row.outputs for row in rows]).T[:, :, None]
        width = int(ends.max())
        outputs = torch.arange(width)
        self.mask = torch.where((firsts <= outputs) & (outputs < ends), 0.0, MASKED)
        self.mask[torch.tensor([row.two_class for row in rows]), NEUTRAL] = MASKED
        self.trunk = load_trunk(trunk)
        self.layers = spread(self.trunk.config.num_hidden_layers, options.layers)
        if self.layers:
            keep_layers(self.trunk, self.layers)
        self.lesson = None if lesson is None else torch.from_numpy(lesson)
        self.pad_id = pad_id(self.trunk)
        self.head = torch.nn.Linear(hidden_size(self.trunk), width)
        self.weights_of_labels = torch.ones(width)
        if options.class_weights:
            self.weights_of_labels = torch.tensor(balanced([r.label for r in rows], width))
        self.trunk = methods.prepared(self.trunk, method, options.frozen_layers)
        self.trunk.to(self.device)
        self.head.to(self.device)

    def train(
        self,
        epochs: int,
        generator: np.random.Generator,
        progress: Progress,
        place: Place | None = None,
    ) -> None:
        """By the session's method, `epochs` times over the rows.

        Args:
            place: where it is kept meanwhile, so that the same goes on if it is interrupted; a head
                alone is not.

        Raises:
            ModelError: the loss is no number.
        """
        import torch

        if self.method == "head":
            self.train_head(epochs, generator, progress)
        else:
            Fitting(self, epochs, generator, place).run(progress)
        if self.lesson is None and bool((self.mask[:, NEUTRAL] == MASKED).all()):
            with torch.no_grad():
                self.head.weight[NEUTRAL] = 0.0
                self.head.bias[NEUTRAL] = MASKED

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
        """Cross-entropy over the outputs that each row's set knows, and with the teacher's."""
        import torch
        from torch.nn.functional import cross_entropy

        index = torch.as_tensor(batch)
        logits = self.head(vectors)
        told = cross_entropy(
            logits + self.mask[index].to(self.device),
            self.labels[index].to(self.device),
            self.weights_of_labels.to(self.device),
        )
        if self.lesson is None:
            return told
        shares = (self.lesson[index].to(self.device) / SOFTENED).softmax(1)
        taught = SOFTENED**2 * cross_entropy(logits[:, : len(LABELS)] / SOFTENED, shares)
        return TAUGHT * taught + (1 - TAUGHT) * told

    def backward(
        self,
        batch: Sequence[int],
        together: int,
        generator: np.random.Generator,
        moved: Perturbation | None,
    ) -> float:
        """Add the gradients of a batch, and of the same moved up its loss; its own loss.

        Args:
            together: batches of the step, whose mean is taken.
        """
        import torch

        ids = [self.ids[index] for index in batch]
        if share := self.options.thinning:
            ids = [thinned(each, generator) if generator.random() < share else each for each in ids]

        def once() -> float:
            dropped = torch.nn.functional.dropout(self.vectors(ids), HEAD_DROPOUT)
            loss = self.loss(dropped, batch)
            whole = loss + methods.penalty(self.trunk, self.method)
            (whole / together).backward()  # type: ignore[no-untyped-call]
            return loss.item()

        loss = once()
        if moved is not None:
            with moved:
                once()
        return loss

    def held_back(self, generator: np.random.Generator) -> tuple[list[int], list[int]]:
        """Rows to watch the loss on, none unless training may stop early, and rows to train on."""
        if not self.options.patience:
            return [], list(range(len(self.ids)))
        order = generator.permutation(len(self.ids)).tolist()
        most = min(MOST_HELD, max(1, int(HELD_SHARE * len(order))))
        kept = order[most:]
        shown = {tuple(self.ids[index]) for index in kept}  # a text that came twice is no witness
        held = [index for index in order[:most] if tuple(self.ids[index]) not in shown]
        return held, kept + [index for index in order[:most] if tuple(self.ids[index]) in shown]

    def loss_of(self, rows: Sequence[int]) -> float:
        """The mean loss of rows, as they are."""
        import torch

        total = 0.0
        with torch.no_grad():
            for places in pack([self.lengths[index] for index in rows]):
                batch = [rows[place] for place in places]
                vectors = self.vectors([self.ids[index] for index in batch])
                total += len(batch) * self.loss(vectors, batch).item()
        return total / len(rows)

    def train_head(self, epochs: int, generator: np.random.Generator, progress: Progress) -> None:
        """The head alone, on vectors computed once; an epoch is 15 passes over them."""
        import torch

        vectors = torch.zeros(len(self.ids), self.head.in_features, device=self.device)
        plan = pack(self.lengths)
        with torch.inference_mode():
            for step, batch in enumerate(plan, start=1):
                vectors[batch] = self.vectors([self.ids[index] for index in batch])
                progress(step, len(plan), float("nan"))
        mean, spread = vectors.mean(0), vectors.std(0)
        spread[spread <= UNUSED * spread.median()] = torch.inf  # there rounding alone would speak
        scaled = (vectors - mean) / spread
        optimiser = torch.optim.AdamW(
            self.head.parameters(), lr=PROBE_RATE, weight_decay=PROBE_DECAY
        )
        for _ in range(epochs * PROBE_PASSES):
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

    def adapter(
        self,
    ) -> tuple[Adapter | None, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """What the artifact says of the adapter, its tensors, and those of whole layers."""
        said, tensors = methods.kept(self.trunk, self.method)
        return (said, {}, tensors) if self.method == "full" else (said, tensors, {})

    def heads(self) -> dict[str, torch.Tensor]:
        """The sentiment head's tensors. Topic heads are fitted later, to all of their rows."""
        return {
            f"sentiment.{name}": tensor[: len(LABELS)]
            for name, tensor in self.head.state_dict().items()
        }
