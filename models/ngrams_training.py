"""Training of the n-gram expert.

All rows of all sets, once, by Adagrad at .1 in batches of 64: a second pass over a table of single
weights learns the rows by heart (measured: worse on every set but two). Every gram is learned; then
those stay that say most, by weight and frequency, which is better than the most frequent ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data import LABELS, NEUTRAL
from models.ngrams import KEPT, LARGEST, NGrams, buckets
from models.sampling import TrainingRow

RATE, BATCH, MASKED = 0.1, 64, -1e4
CUT = 0.9995


def train_ngrams(
    rows: Sequence[TrainingRow],
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
    kept: int = KEPT,
    exact: bool = False,
) -> NGrams:
    """A table of the `kept` grams of the rows that say most, for sentiment.

    Args:
        rows: cleaned texts with labels; at least one.
        progress: called with the number of rows just learned.
        exact: the table answers by its weights as trained, until it is saved.
    """
    mask = np.zeros((len(rows), len(LABELS)), np.float32)
    mask[[row.two_class for row in rows], NEUTRAL] = MASKED
    labels = np.array([row.label for row in rows])
    texts = [row.text for row in rows]
    return train_table(
        texts, labels, mask, seed, kept, progress=progress, against=NEUTRAL, exact=exact
    )


def train_table(
    texts: Sequence[str],
    labels: NDArray[np.int64],
    mask: NDArray[np.float32],
    seed: int,
    kept: int,
    passes: int = 1,
    progress: Callable[[int], None] = lambda done: None,
    against: int | None = None,
    exact: bool = False,
) -> NGrams:
    """A table of the grams of cleaned texts that say most.

    Args:
        labels: int64[texts].
        mask: float32[texts, labels], added to a row's logits: 0 for a label that its set knows.
        kept: at most so many grams.
        passes: times over the texts.
        against: the label whose weights are 0 and need no place; None: every label has its own.
        exact: as for `train_ngrams`.
    """
    import torch

    torch.manual_seed(seed)
    places, known = _known_grams([buckets(text) for text in texts])
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
    weights = table.weight.detach().numpy()
    best, ends = _telling(weights, known, kept), bias.detach().numpy()
    if against is not None:  # what is added to every label alike changes no probability
        weights, ends = weights - weights[:, [against]], ends - ends[against]
    return _in_four_bits(places[best], weights[best], ends, exact)


def _known_grams(
    grams: Sequence[NDArray[np.int64]],
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """The buckets that occur, in rising order, and each text's own by their places there."""
    met = np.unique(np.concatenate(grams))
    return met, [np.searchsorted(met, each) for each in grams]


def _telling(
    weights: NDArray[np.float32], known: Sequence[NDArray[np.int64]], most: int
) -> NDArray[np.int64]:
    """Places of the grams that say most, in order: the largest weight of a label against the mean
    of all, times the root of the texts that have the gram."""
    size = np.abs(weights - weights.mean(axis=1, keepdims=True)).max(axis=1)
    size *= np.sqrt(np.bincount(np.concatenate(known), minlength=len(weights)))
    return np.sort(np.argsort(-size, kind="stable")[:most])


def _bag(grams: Sequence[NDArray[np.int64]]) -> tuple[Any, Any]:
    import torch

    starts = np.cumsum([0, *(len(each) for each in grams[:-1])])
    return torch.from_numpy(np.concatenate(grams)), torch.from_numpy(starts)


def _in_four_bits(
    kept: NDArray[np.int64],
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    exact: bool = False,
) -> NGrams:
    # A few large weights would coarsen all others: they are cut.
    scale = max(float(np.quantile(np.abs(weights), CUT)) / LARGEST**2, 1e-6)
    steps = np.sign(weights) * np.round(np.sqrt(np.abs(weights) / scale))
    small = np.clip(steps, -LARGEST, LARGEST).astype(np.int8)
    return NGrams(kept, small, scale, bias.astype(np.float32), weights if exact else None)
