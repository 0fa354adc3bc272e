"""Guard: a list is never worse than the best component alone.

Every feature is an expert that could make the list by itself. Its gain on an interaction is
1 / log2(1 + rank), 0 beyond rank 100, and so is the blend's; the guard keeps the mean and the
variance of the difference, fading, for each length of history. The blend makes the list; while one
expert has been better by more than three standard errors, the best of those does, and the blend
learns from the interactions that the expert foresaw, too.

This is Hedge with a prior on the blend, taken to the limit of its leader: the experts' gains
differ by little or by very much, so that averaging their lists would only blur the better one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from online.arrays import F32, F64
from online.kernels import kernel

FROM_RANK = 100
KEPT = 0.998  # of the gains, at each interaction
SURE = 3.0  # standard errors
ENOUGH = 30.0  # interactions before an expert may lead
VALID = np.float32(-1e29)  # scores below are of items that cannot be listed
THE_BLEND = -1


class Guard(NamedTuple):
    """What is remembered of the gains, for each bucket of history lengths.

    Attributes:
        ahead: float64[6, features], fading sums of gain(expert) − gain(blend).
        squared: float64[6, features], of its squares.
        weight: float64[6], of 1.
    """

    ahead: F64
    squared: F64
    weight: F64


def new_guard(buckets: int, features: int) -> Guard:
    """Nothing known: the blend lists."""
    return Guard(np.zeros((buckets, features)), np.zeros((buckets, features)), np.zeros(buckets))


@kernel()
def leader(g: Guard, bucket: int) -> int:
    """The feature that makes the list alone, or THE_BLEND."""
    n = g.weight[bucket]
    found = THE_BLEND
    if n < ENOUGH:
        return found
    best = 0.0
    for f in range(g.ahead.shape[1]):
        mean = g.ahead[bucket, f] / n
        if mean > best:
            variance = g.squared[bucket, f] / n - mean * mean
            if mean > SURE * math.sqrt(max(variance, 0.0) / n):
                found, best = f, mean
    return found


@kernel()
def watch(g: Guard, bucket: int, n: int, features: F32, scores: F32, item: int, rank: int) -> None:
    """Remember how every expert, and the blend with `rank`, foresaw the item in place `item`."""
    blend = gain(rank)
    g.weight[bucket] = KEPT * g.weight[bucket] + 1
    for f in range(g.ahead.shape[1]):
        ahead = gain(rank_alone(n, features[f], scores, item)) - blend
        g.ahead[bucket, f] = KEPT * g.ahead[bucket, f] + ahead
        g.squared[bucket, f] = KEPT * g.squared[bucket, f] + ahead * ahead


@kernel()
def gain(rank: int) -> float:
    """1 / log2(1 + rank), 0 beyond rank 100."""
    return 1.0 / math.log2(1.0 + rank) if 1 <= rank <= FROM_RANK else 0.0


@kernel()
def rank_alone(n: int, feature: F32, scores: F32, item: int) -> int:
    """1 + the other listable items that the feature does not put below `item`.

    A blend that is not a number does not keep the experts from stepping in.
    """
    x = feature[item]
    rank = 0
    for i in range(n):
        rank += (not feature[i] < x) & (not scores[i] < VALID)
    return rank
