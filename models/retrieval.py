"""Retrieval: which question of an FAQ a new one asks, by the vectors of the unchanged trunk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.classifier import Classifier


def first_of_each(rows: Sequence[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """The first `most` rows of each category, in the order of the rows (text, category)."""
    taken: dict[str, int] = {}
    kept = []
    for text, category in rows:
        taken[category] = taken.get(category, 0) + 1
        if taken[category] <= most:
            kept.append((text, category))
    return kept


def embedded(classifier: Classifier, texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors float32[texts, hidden], adapter off, as `/embed` answers them."""
    ids = classifier.prepare_embedding(texts)
    found = np.zeros((len(ids), classifier.width), np.float32)
    for batch in classifier.batches([len(each) for each in ids]):
        found[batch] = classifier.embed([ids[place] for place in batch])
    return found


def recall_at_1(
    index: NDArray[np.float32],
    index_labels: Sequence[str],
    queries: NDArray[np.float32],
    query_labels: Sequence[str],
) -> float:
    """The share of queries whose nearest index row, by cosine, has their category.

    Args:
        index, queries: unit vectors [rows, hidden]; of equally near rows the first counts.
    """
    nearest = (queries @ index.T).argmax(axis=1)
    hits = [index_labels[at] == label for at, label in zip(nearest, query_labels, strict=True)]
    return float(np.mean(hits))
