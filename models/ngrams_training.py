"""Training of the n-gram expert.

All rows of all sets, once, by Adagrad at .1 in batches of 64: a second pass over a table of single
weights learns the rows by heart (measured: worse on every set but two).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.data import LABELS, NEUTRAL
from models.ngrams import BITS, KEPT, NGrams, buckets
from models.sampling import TrainingRow

if TYPE_CHECKING:
    import torch

RATE, BATCH, MASKED = 0.1, 64, -1e4
LARGEST = 127


def train_ngrams(
    rows: Sequence[TrainingRow], seed: int, progress: Callable[[int], None] = lambda done: None
) -> NGrams:
    """A table of the most frequent grams of the rows (at most 60,000).

    Args:
        rows: cleaned texts with labels; at least one.
        progress: called with the number of rows just learned.
    """
    import torch

    torch.manual_seed(seed)
    grams = [buckets(row.text) for row in rows]
    counts = np.bincount(np.concatenate(grams), minlength=2**BITS)
    most = np.argsort(-counts, kind="stable")[:KEPT]
    kept = np.sort(most[counts[most] > 0])
    place = np.full(2**BITS, -1, np.int64)
    place[kept] = np.arange(len(kept))
    known = [found[found >= 0] for found in (place[each] for each in grams)]
    table = torch.nn.EmbeddingBag(len(kept), len(LABELS), mode="sum", sparse=True)
    torch.nn.init.zeros_(table.weight)
    bias = torch.nn.Parameter(torch.zeros(len(LABELS)))
    optimiser = torch.optim.Adagrad([*table.parameters(), bias], lr=RATE)
    order = np.random.default_rng(seed).permutation(len(rows))
    # The optimiser makes sparse tensors unchecked; said outright, torch does not warn of it.
    with torch.sparse.check_sparse_tensor_invariants(enable=False):  # type: ignore[no-untyped-call]
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH].tolist()
            logits = table(*_bag([known[index] for index in batch])) + bias
            loss = _loss(logits, [rows[index] for index in batch])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            progress(len(batch))
    return _in_eight_bits(kept, table.weight.detach().numpy(), bias.detach().numpy())


def _bag(grams: Sequence[NDArray[np.int64]]) -> tuple[Any, Any]:
    import torch

    starts = np.cumsum([0, *(len(each) for each in grams[:-1])])
    return torch.from_numpy(np.concatenate(grams)), torch.from_numpy(starts)


def _loss(logits: torch.Tensor, rows: Sequence[TrainingRow]) -> torch.Tensor:
    """Cross-entropy over the classes that each row's set knows."""
    import torch

    mask = torch.zeros(len(rows), len(LABELS))
    mask[torch.tensor([row.two_class for row in rows]), NEUTRAL] = MASKED
    return torch.nn.functional.cross_entropy(
        logits + mask, torch.tensor([row.label for row in rows])
    )


def _in_eight_bits(
    kept: NDArray[np.int64], weights: NDArray[np.float32], bias: NDArray[np.float32]
) -> NGrams:
    # A few large weights would coarsen all others: they are cut.
    scale = max(float(np.quantile(np.abs(weights), 0.9995)) / LARGEST, 1e-6)
    small = np.clip(np.round(weights / scale), -LARGEST, LARGEST).astype(np.int8)
    return NGrams(kept, small, scale, bias.astype(np.float32))
