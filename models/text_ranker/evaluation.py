"""How often the item that a user takes next is among the 50 that his items' vectors point to.

All items are ranked but those that he has; ties count against the vectors. A user is what he met,
.8^k each, whatever the vectors are: dense ones, or TF-IDF as a sparse matrix.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.text_ranker.pairs import I64, Pairs, weights

AT, NDCG_AT = 50, 10
SCORES_AT_ONCE = 4_000_000


class Quality(NamedTuple):
    """Means over n events; `se`: of the recall, clustered by nothing, as users are many."""

    n: int
    recall50: float
    ndcg10: float
    se: float


def ranks_of(vectors: Any, pairs: Pairs) -> I64:
    """Rank of each pair's target, from 1; int64[n].

    Args:
        vectors: float32[items, width], or a scipy sparse matrix of that shape.
    """
    from scipy.sparse import csr_matrix

    items = vectors.shape[0]
    at_once = max(1, SCORES_AT_ONCE // items)
    found = np.zeros(len(pairs), np.int64)
    across = vectors.T.tocsr() if hasattr(vectors, "tocsr") else vectors.T
    for first in range(0, len(pairs), at_once):
        some = pairs.some(np.arange(first, min(first + at_once, len(pairs))))
        histories = some.histories()
        there = histories >= 0
        rows = np.broadcast_to(np.arange(len(some))[:, None], histories.shape)[there]
        spoken = csr_matrix(
            (weights(histories)[there], (rows, histories[there])), (len(some), items)
        )
        scores = (spoken @ vectors) @ across
        scores = scores.toarray() if hasattr(scores, "toarray") else np.asarray(scores)
        target = scores[np.arange(len(some)), some.target].copy()
        for row, (begin, end) in enumerate(zip(some.begin, some.end, strict=True)):
            scores[row, some.taken[begin:end]] = -np.inf
        found[first : first + len(some)] = (scores >= target[:, None]).sum(1)
    return found


def quality(ranks: npt.NDArray[np.int64]) -> Quality:
    """What the ranks come to."""
    n = len(ranks)
    if not n:
        return Quality(0, 0.0, 0.0, 0.0)
    hits = ranks <= AT
    gains = np.where(ranks <= NDCG_AT, 1 / np.log2(1.0 + ranks), 0.0)
    se = float(np.sqrt(hits.var() / n))
    return Quality(n, round(float(hits.mean()), 4), round(float(gains.mean()), 4), round(se, 4))
