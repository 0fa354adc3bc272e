"""Curves: the loss of a training, as TensorBoard draws it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOGS = "tensorboard"


@contextmanager
def curves(out: Path) -> Iterator[Callable[[int, float], None]]:
    """Takes (step, loss) into `out`/tensorboard; torch is imported with the first of them."""
    writer: SummaryWriter | None = None

    def point(step: int, loss: float) -> None:
        nonlocal writer
        if isnan(loss):
            return
        if writer is None:
            from torch.utils.tensorboard import SummaryWriter

            writer = SummaryWriter(str(out / LOGS))
        writer.add_scalar("loss/train", loss, step)

    try:
        yield point
    finally:
        if writer is not None:
            writer.close()
