"""Blend: a log-linear softmax over the features, one weight vector per length of history.

    score(i) = Σ_f W[b, f] · feature_f(i),    b = bucket of the history's length

Learned prequentially by gradient ascent on log softmax, rate .005 / RMS of the gradient, and only
from interactions whose item already ranks ≤ 100: the weights serve the head of the list.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from online.arrays import F32, FAST, U8
from online.content import ON, Content
from online.kernels import kernel, leaf
from online.popularity import BY_COUNT, Popularity
from online.scoring import FEATURES, Scratch, exponentials

BUCKETS = 6
LEARN_FROM_RANK = 100
KEPT = 0.9995  # of the mean squared gradient
MISS = 2**31 - 1
MASKED = np.float32(-1e30)


class Blend(NamedTuple):
    """Weights.

    Attributes:
        weights: float32[6, features].
        squared: float32[6, features], running mean squared gradient.
    """

    weights: F32
    squared: F32


def new_blend() -> Blend:
    """Equal weights that sum to 1."""
    shape = (BUCKETS, len(FEATURES))
    return Blend(np.full(shape, 1 / len(FEATURES), np.float32), np.ones(shape, np.float32))


@kernel()
def bucket_of(length: int) -> int:
    """0, 1–2, 3–7, 8–19, 20–59, 60+ interactions."""
    bucket = 0
    for edge in (1, 3, 8, 20, 60):
        if length >= edge:
            bucket += 1
    return bucket


@kernel(fastmath=FAST)
def blend_scores(n: int, b: Blend, c: Content, bucket: int, s: Scratch) -> None:
    """s.scores[:n] = Σ_f W · feature."""
    s.scores[:n] = 0
    for f in range(len(FEATURES)):
        w, row = b.weights[bucket, f], s.features[f]
        for i in range(n):
            s.scores[i] += w * row[i]
    if c.state[ON]:
        for f in range(c.weights.shape[1]):
            w, row = c.weights[bucket, f], s.features[len(FEATURES) + f]
            for i in range(n):
                s.scores[i] += w * row[i]


@kernel()
def mask(n: int, available: U8, p: Popularity, c: Content, s: Scratch, mark: int) -> None:
    """Items that are unavailable, unknown, or marked as seen cannot be candidates.

    One that nobody took is known where it is near, by content, to what the user has.
    """
    for i in range(n):
        unknown = p.counts[i] <= 0 and (c.listed[i] == 0 or s.q_sum[i] <= 0)
        if available[i] == 0 or unknown or s.seen[i] == mark:
            s.scores[i] = MASKED


@kernel()
def rank_of(n: int, scores: F32, item: int) -> int:
    """1 + items that do not score below `item`; MISS where its own score is not finite.

    Ties count against us, and so does a score that is not a number.
    """
    x = scores[item]
    if not math.isfinite(x):
        return MISS
    rank = 0
    for i in range(n):
        if not scores[i] < x:
            rank += 1
    return rank


@kernel()
def count_rank(n: int, available: U8, p: Popularity, s: Scratch, mark: int, item: int) -> int:
    """Rank of `item` among the same candidates by plain popularity."""
    x = p.counts[item]
    rank = 0
    for i in range(n):
        if p.counts[i] >= x and available[i] != 0 and s.seen[i] != mark:
            rank += 1
    return rank


@leaf()
def count_rank_by_leaders(
    n: int, available: U8, p: Popularity, s: Scratch, mark: int, item: int
) -> int:
    """The same from the best by count: exact to rank 20, beyond it `n` at worst.

    Where the user has nearly all of the best, the others are counted one by one.
    """
    x = p.counts[item]
    rank = 0
    for i in p.leaders[BY_COUNT]:
        if i < 0 or p.counts[i] < x:
            return rank
        rank += available[i] != 0 and s.seen[i] != mark
    return n if rank > 20 else count_rank(n, available, p, s, mark, item)


@kernel(fastmath=FAST)
def learn_weights(
    n: int, b: Blend, c: Content, bucket: int, s: Scratch, item: int, rate: float
) -> None:
    """One step towards `item`: ∂ log softmax = feature(item) − E[feature]."""
    total = exponentials(n, s.scores, s.scores[item], s.weights)
    _step(n, s.features, 0, s.weights, total, b.weights[bucket], b.squared[bucket], item, rate)
    if c.state[ON]:
        _step(
            n, s.features, len(FEATURES), s.weights, total, c.weights[bucket], c.squared[bucket],
            item, rate,
        )  # fmt: skip


@kernel(fastmath=FAST)
def _step(
    n: int, features: F32, first: int, shares: F32, total: float, weights: F32, squared: F32,
    item: int, rate: float,
) -> None:  # fmt: skip
    per = np.float32(total)
    for f in range(len(weights)):
        row = features[first + f]
        expected = np.float32(0)
        for i in range(n):
            expected += shares[i] * row[i]
        g = row[item] - expected / per
        if math.isfinite(g):
            squared[f] = KEPT * squared[f] + (1 - KEPT) * g * g
            weights[f] += rate * g / (math.sqrt(squared[f]) + 1e-3)
