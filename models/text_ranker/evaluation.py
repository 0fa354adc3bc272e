"""How often the item that a user takes next is among the 50 that his items' vectors point to.

All items are ranked but those that he has; ties count against the vectors, as does what is no
number. A user is what he met,
.8^k each, whatever the vectors are: dense ones, or TF-IDF as a sparse matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.text_ranker.pairs import I64, Pairs

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
    return ranks_of_sums({"": vectors}, {"": ("",)}, pairs)[""]


def ranks_of_sums(
    tables: Mapping[str, Any], sums: Mapping[str, Sequence[str]], pairs: Pairs
) -> dict[str, I64]:
    """As `ranks_of`, by sums of the scores of several tables of vectors, each scored once.

    Args:
        tables: name → vectors; sums: name of a ranking → the tables that speak in it.
    """
    items = next(iter(tables.values())).shape[0]
    at_once = max(1, SCORES_AT_ONCE // items)
    across = {
        name: each.T.tocsr() if hasattr(each, "tocsr") else each.T for name, each in tables.items()
    }
    found = {name: np.zeros(len(pairs), np.int64) for name in sums}
    for first in range(0, len(pairs), at_once):
        some = pairs.some(np.arange(first, min(first + at_once, len(pairs))))
        spoken = some.spoken(items)
        scores = {name: _dense((spoken @ each) @ across[name]) for name, each in tables.items()}
        for name, parts in sums.items():
            total = sum((scores[part] for part in parts[1:]), scores[parts[0]].copy())
            found[name][first : first + len(some)] = _ranks(total, some)
    return found


def _dense(scores: Any) -> npt.NDArray[np.float32]:
    return np.asarray(scores.toarray() if hasattr(scores, "toarray") else scores)


def _ranks(scores: npt.NDArray[np.float32], pairs: Pairs) -> I64:
    target = scores[np.arange(len(pairs)), pairs.target].copy()
    for row, (begin, end) in enumerate(zip(pairs.begin, pairs.end, strict=True)):
        scores[row, pairs.taken[begin:end]] = -np.inf
    ranks: I64 = (~(scores < target[:, None])).sum(1)  # against what is no number as well
    return ranks


def quality(ranks: npt.NDArray[np.int64]) -> Quality:
    """What the ranks come to."""
    n = len(ranks)
    if not n:
        return Quality(0, 0.0, 0.0, 0.0)
    hits = ranks <= AT
    gains = np.where(ranks <= NDCG_AT, 1 / np.log2(1.0 + ranks), 0.0)
    se = float(np.sqrt(hits.var() / n))
    return Quality(n, round(float(hits.mean()), 4), round(float(gains.mean()), 4), round(se, 4))
