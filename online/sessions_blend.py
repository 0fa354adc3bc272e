"""The blend for sessions: a log-linear softmax over the candidates of a prefix.

    score(i) = Σ_f W[b, f] · feature_f(i),    b = length of the prefix, 1 … 6 or more

Learned like `online.blend`, prequentially, at .003 / RMS, and only where the item that came ranks
≤ 100. The start values were found on the first periods of DIGINETICA.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from online.arrays import F32, FAST, I32
from online.kernels import kernel
from online.scoring import LOG_OFFSET, LOG_SCALE, exponentials
from online.sessions_candidates import SUMS, Votes, find_place
from online.sessions_index import LONG, SHORT, SessionIndex

BUCKETS = 6
MISS = 2**31 - 1
LEARN_FROM_RANK = 100
KEPT = 0.9995  # of the mean squared gradient
RARE = 5  # visits

# Six shares of votes, two of popularity, repeats (of the newest, the one before, an older item of
# the session: repeats are the rule in some catalogues and the exception in others), the factors,
# and whether the item is rare.
FEATURES = (
    "knn", "near", "after", "next", "before", "plain", "short", "long",
    "newest", "second", "older", "factors", "rare",
)  # fmt: skip
SHORT_SHARE, LONG_SHARE, NEWEST, SECOND, OLDER, FACTOR, RARE_ITEM = range(SUMS, len(FEATURES))
FLOORS = np.array([1e-5, 1e-5, 1e-5, 1e-4, 1e-4, 1e-5, 1e-6, 1e-6], np.float32)
START = (0.65, 0.15, 0.06, 0.03, 0.06, 0.3, 0.35, -0.5, -0.6, -0.3, -0.3, 0.2, 0.4)


class SessionBlend(NamedTuple):
    """Weights, and room to score in.

    Attributes:
        weights, squared: float32[6, features]; squared is the running mean squared gradient.
        features: float32[features, items], by place of the candidate; scores, p: float32[items].
    """

    weights: F32
    squared: F32
    features: F32
    scores: F32
    p: F32


def new_session_blend(items: int) -> SessionBlend:
    """The start values."""
    weights = np.tile(np.array(START, np.float32), (BUCKETS, 1))
    return SessionBlend(
        weights,
        np.ones_like(weights),
        np.zeros((len(FEATURES), items), np.float32),
        np.zeros(items, np.float32),
        np.zeros(items, np.float32),
    )


@kernel(fastmath=FAST)
def compute_features(
    b: SessionBlend, v: Votes, count: int, x: SessionIndex, prefix: I32, near: F32
) -> None:
    """Fill b.features[:, :count] for the candidates of a prefix; near: float32[items], factors."""
    for f in range(SUMS):
        row, total = b.features[f], np.float32(1e-6)
        for c in range(count):
            row[c] = v.sums[c, f]
            total += row[c]
        _log_share(count, row, np.float32(1) / total, FLOORS[f])
    for f, half_life in ((SHORT_SHARE, SHORT), (LONG_SHARE, LONG)):
        row = b.features[f]
        for c in range(count):
            row[c] = x.fading[half_life, v.items[c]]
        _log_share(count, row, np.float32(1.0 / max(x.total[half_life], 1e-9)), FLOORS[f])
    b.features[NEWEST : OLDER + 1, :count] = 0
    for c in range(count):
        b.features[FACTOR, c] = near[v.items[c]]
        b.features[RARE_ITEM, c] = np.float32(x.visits[v.items[c]] < RARE)
    for k in range(len(prefix)):  # the newest visit of an item last: it decides
        c = find_place(v, count, prefix[k])
        if c >= 0:
            b.features[NEWEST : OLDER + 1, c] = 0
            b.features[OLDER - max(0, k + 3 - len(prefix)), c] = 1


@kernel(fastmath=FAST)
def _log_share(count: int, row: F32, scale: float, floor: float) -> None:
    """row = log(row · scale + floor), a logarithm to .06 (see online.scoring)."""
    bits = row.view(np.int32)
    for c in range(count):
        row[c] = row[c] * np.float32(scale) + np.float32(floor)
    for c in range(count):
        row[c] = np.float32(bits[c]) * LOG_SCALE + LOG_OFFSET


@kernel(fastmath=FAST)
def score(b: SessionBlend, weights: F32, count: int) -> None:
    """b.scores[:count] = Σ_f weights[f] · feature."""
    b.scores[:count] = 0
    for f in range(len(FEATURES)):
        w, row = weights[f], b.features[f]
        for c in range(count):
            b.scores[c] += w * row[c]


@kernel()
def rank_among(scores: F32, count: int, place: int) -> int:
    """1 + the others that do not score below; MISS for no place or a score that is not finite."""
    if place < 0 or not math.isfinite(scores[place]):
        return MISS
    rank = 0
    for c in range(count):
        rank += not scores[c] < scores[place]
    return rank


@kernel(fastmath=FAST)
def learn_weights(b: SessionBlend, bucket: int, count: int, place: int, rate: float) -> None:
    """One step towards the candidate at `place`: its features minus the expected ones."""
    total = np.float32(exponentials(count, b.scores, b.scores[place], b.p))
    for f in range(len(FEATURES)):
        row = b.features[f]
        expected = np.float32(0)
        for c in range(count):
            expected += b.p[c] * row[c]
        g = row[place] - expected / total
        if math.isfinite(g):
            b.squared[bucket, f] = KEPT * b.squared[bucket, f] + (1 - KEPT) * g * g
            b.weights[bucket, f] += rate * g / (math.sqrt(b.squared[bucket, f]) + 1e-3)
