"""Metrics of prequential ranks: HR@10, NDCG@10, MRR@20, and how sure they are.

With r the rank of the item that a user took next, one relevant item per event:

    HR@10 = [r ≤ 10]        NDCG@10 = [r ≤ 10] / log2(r + 1)        MRR@20 = [r ≤ 20] / r

A miss (item never seen, score not finite) has a rank beyond all lists. Events of one user are not
independent, so standard errors are clustered by user: √(Σ_u (Σ_{e of u} (x_e − x̄))²) / n.
"""

from __future__ import annotations

import numpy as np

from online.arrays import F64, I32, I64

HALVES = ("overall", "last_half")


def hits(ranks: I32) -> F64:
    """HR@10 of each event; float64[n]."""
    return (ranks <= 10).astype(np.float64)


def gains(ranks: I32) -> F64:
    """NDCG@10 of each event; float64[n]."""
    return np.where(ranks <= 10, 1 / np.log2(ranks.astype(np.float64) + 1), 0.0)


def reciprocals(ranks: I32) -> F64:
    """MRR@20 of each event; float64[n]."""
    return np.where(ranks <= 20, 1 / ranks, 0.0)


def clustered_error(values: F64, users: I32) -> float:
    """Standard error of the mean, clustered by user (0 for no values).

    Args:
        values: float64[n]; users: int32[n], the user of each, numbered from 0.
    """
    if not len(values):
        return 0.0
    sums = np.bincount(users, weights=values - values.mean())
    return float(np.sqrt((sums**2).sum()) / len(values))


def mean(values: F64) -> float:
    """Mean, 0 for no values."""
    return float(values.mean()) if len(values) else 0.0


def summarise(ranks: I32, users: I32) -> dict[str, dict[str, float]]:
    """`overall` and `last_half` (by index) of the ranks; rank 0 was not evaluated and is left out.

    Args:
        ranks: int32[n], 1-based; users: int32[n].
    """
    found = {}
    for name, start in zip(HALVES, (0, len(ranks) // 2), strict=True):
        evaluated = ranks[start:] > 0
        r, u = ranks[start:][evaluated], users[start:][evaluated]
        found[name] = {
            "hr10": mean(hits(r)),
            "ndcg10": mean(gains(r)),
            "mrr20": mean(reciprocals(r)),
        }
        if name == "last_half":
            found[name]["hr10_se"] = clustered_error(hits(r), u)
            found[name]["ndcg10_se"] = clustered_error(gains(r), u)
    return {name: {k: round(v, 6) for k, v in values.items()} for name, values in found.items()}


def running(values: F64, window: int, points: int) -> tuple[I64, F64]:
    """Moving mean of the last `window` values, at evenly spaced places.

    Args:
        values: float64[n], NaN where an event was not evaluated.

    Returns:
        int64[≤ points], events so far; float64 of the same length, NaN where there is none.
    """
    n = len(values)
    at = (
        np.unique(np.linspace(min(n, window), n, points).astype(np.int64))
        if n
        else np.zeros(0, np.int64)
    )
    counted = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(counted, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(counted)])
    since = np.maximum(at - window, 0)
    found = counts[at] - counts[since]
    return at, np.where(found > 0, (sums[at] - sums[since]) / np.maximum(found, 1), np.nan)
