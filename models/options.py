"""Options of fine-tuning beyond the measured recipe, for comments of one's own; all off by default.

None of them raised the figures of the model card, which was made without: they are for data that
are scarcer, noisier or more lopsided than the known sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

if TYPE_CHECKING:
    import torch

DROPPED_SHARE = 0.1  # of the tokens of a thinned row
HELD_SHARE, MOST_HELD, CHECKS = 0.1, 1_000, 4  # early stopping looks so often in an epoch


class Options(Struct, frozen=True):
    """What may be switched on.

    Attributes:
        class_weights: a label's rows weigh the more, the fewer they are.
        adversarial: size of FGM's step in the embeddings (1605.07725), 0: none; 1 is usual. Every
            step costs two.
        thinning: share of rows that lose one token in ten, chosen anew every time.
        frozen_layers: the lowest layers stay as they are; a prefix has no such thing.
        accumulate: batches whose gradients are added up before a step.
        patience: stop after so many looks at rows held back, four an epoch, without a lower loss,
            and go back to the best weights; 0: never.
        layers: of the trunk's layers so many are kept, evenly spread; 0: all.
        teacher: an artifact whose answers are learned from beside the labels; None: none.
    """

    class_weights: bool = False
    adversarial: float = 0.0
    thinning: float = 0.0
    frozen_layers: int = 0
    accumulate: int = 1
    patience: int = 0
    layers: int = 0
    teacher: Path | None = None


AS_MEASURED = Options()


def balanced(labels: Sequence[int], count: int) -> list[float]:
    """Weight of each label: rows / (labels that occur · its rows), 0 where it does not occur."""
    rows = np.bincount(np.asarray(labels), minlength=count)
    present = int(np.sum(rows > 0))
    return [len(labels) / (present * int(each)) if each else 0.0 for each in rows]


def thinned(ids: list[int], generator: np.random.Generator) -> list[int]:
    """A row without some of its tokens; the first and the last one, which frame it, stay."""
    kept = generator.random(len(ids)) >= DROPPED_SHARE
    kept[[0, -1]] = True
    left = [token for token, stays in zip(ids, kept.tolist(), strict=True) if stays]
    return left if len(left) > 2 else ids


class Perturbation:
    """FGM: the same batch again, its embeddings moved up the loss by `size` · g / ‖g‖.

    Args:
        embeddings: the module whose output is moved; its own weights may be frozen.
    """

    def __init__(self, embeddings: Any, size: float) -> None:
        self._size = size
        self._seen: torch.Tensor | None = None
        self._moved: torch.Tensor | None = None
        embeddings.register_forward_hook(self._hook)

    def _hook(self, module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        if self._moved is not None:
            return output + self._moved
        self._seen = output.detach().requires_grad_(True)
        return self._seen

    def __enter__(self) -> None:
        """From here on the batch just gone backward is seen moved."""
        if self._seen is not None and self._seen.grad is not None:
            gradient = self._seen.grad
            self._moved = self._size * gradient / gradient.norm().clamp_min(1e-12)

    def __exit__(self, *_: object) -> None:
        """As it was."""
        self._moved = self._seen = None


class Patience:
    """Early stopping on the loss of rows held back.

    Args:
        parameters: what is trained; `restore` puts their best values back.
        looks: without a lower loss until it is over.

    Attributes:
        lowest: loss, when the parameters were `best`; `since`: looks since then.
    """

    def __init__(self, parameters: Sequence[torch.Tensor], looks: int) -> None:
        self._parameters, self._looks = parameters, looks
        self.lowest, self.since = float("inf"), 0
        self.best: list[torch.Tensor] = []

    @property
    def over(self) -> bool:
        """The loss has not fallen for too long."""
        return self.since >= self._looks

    def look(self, loss: float) -> None:
        """Take note of a loss."""
        if loss < self.lowest:
            self.lowest, self.since = loss, 0
            self.best = [each.detach().clone() for each in self._parameters]
        else:
            self.since += 1

    def restore(self) -> None:
        """The weights with the lowest loss."""
        for own, best in zip(self._parameters, self.best, strict=bool(self.best)):
            own.data.copy_(best)
