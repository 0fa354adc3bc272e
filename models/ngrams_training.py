"""Training of the n-gram expert.

All rows of all sets, once, by Adagrad at .1 in batches of 64: a second pass over a table of single
weights learns the rows by heart (measured: worse on every set but two).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data import LABELS, NEUTRAL
from models.ngrams import BITS, KEPT, NGrams, buckets
from models.sampling import TrainingRow

RATE, BATCH, MASKED = 0.1, 64, -1e4
LARGEST = 127


def train_ngrams(
    rows: Sequence[TrainingRow],
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
    kept: int = KEPT,
) -> NGrams:
    """A table of the `kept` most frequent grams of the rows, for sentiment.

    Args:
        rows: cleaned texts with labels; at least one.
        progress: called with the number of rows just learned.
    """
    mask = np.zeros((len(rows), len(LABELS)), np.float32)
    mask[[row.two_class for row in rows], NEUTRAL] = MASKED
    labels = np.array([row.label for row in rows])
    return train_table([row.text for row in rows], labels, mask, seed, kept, progress=progress)


def train_table(
    texts: Sequence[str],
    labels: NDArray[np.int64],
    mask: NDArray[np.float32],
    seed: int,
    kept: int,
    passes: int = 1,
    progress: Callable[[int], None] = lambda done: None,
) -> NGrams:
    """A table of the most frequent grams of cleaned texts.

    Args:
        labels: int64[texts].
        mask: float32[texts, labels], added to a row's logits: 0 for a label that its set knows.
        kept: at most so many grams.
        passes: times over the texts.
    """
    import torch

    torch.manual_seed(seed)
    places, known = _known_grams([buckets(text) for text in texts], kept)
    table = torch.nn.EmbeddingBag(len(places), mask.shape[1], mode="sum", sparse=True)
    torch.nn.init.zeros_(table.weight)
    bias = torch.nn.Parameter(torch.zeros(mask.shape[1]))
    optimiser = torch.optim.Adagrad([*table.parameters(), bias], lr=RATE)
    generator = np.random.default_rng(seed)
    right, masks = torch.from_numpy(labels), torch.from_numpy(mask)
    # The optimiser makes sparse tensors unchecked; said outright, torch does not warn of it.
    with torch.sparse.check_sparse_tensor_invariants(enable=False):  # type: ignore[no-untyped-call]
        for order in (generator.permutation(len(texts)) for _ in range(passes)):
            for start in range(0, len(order), BATCH):
                batch = order[start : start + BATCH].tolist()
                logits = table(*_bag([known[index] for index in batch])) + bias
                loss = torch.nn.functional.cross_entropy(logits + masks[batch], right[batch])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                progress(len(batch))
    return _in_eight_bits(places, table.weight.detach().numpy(), bias.detach().numpy())


def _known_grams(
    grams: Sequence[NDArray[np.int64]], most: int
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """The most frequent buckets, in rising order, and each text's own by their places there."""
    counts = np.bincount(np.concatenate(grams), minlength=2**BITS)
    present = np.flatnonzero(counts)
    kept = np.sort(present[np.argsort(-counts[present], kind="stable")[:most]])
    place = np.full(2**BITS, -1, np.int64)
    place[kept] = np.arange(len(kept))
    return kept, [found[found >= 0] for found in (place[each] for each in grams)]


def _bag(grams: Sequence[NDArray[np.int64]]) -> tuple[Any, Any]:
    import torch

    starts = np.cumsum([0, *(len(each) for each in grams[:-1])])
    return torch.from_numpy(np.concatenate(grams)), torch.from_numpy(starts)


def _in_eight_bits(
    kept: NDArray[np.int64], weights: NDArray[np.float32], bias: NDArray[np.float32]
) -> NGrams:
    # A few large weights would coarsen all others: they are cut.
    scale = max(float(np.quantile(np.abs(weights), 0.9995)) / LARGEST, 1e-6)
    small = np.clip(np.round(weights / scale), -LARGEST, LARGEST).astype(np.int8)
    return NGrams(kept, small, scale, bias.astype(np.float32))
