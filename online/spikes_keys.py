"""The detectors' tables: a row for every key, arrays, so that a snapshot is a copy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import F64, I8, I64, U64

BETS = 4  # on the odds ratio
NONE, FIRING = 0, 1
HOURS = 24  # of the season


class Keys(NamedTuple):
    """One row a key. Times are epoch seconds, evidence natural logarithms.

    "Negatives" are sums of x, the probabilities that comments are negative.

    Attributes:
        evidence: float64[keys, bets], ln M.
        cusum: float64[keys, bets], ln W, 0 where it rests.
        start: float64[keys, bets], when W last left 1.
        since: float64[keys, bets, 2], Σx and comments since then.
        calm: float64[keys, bets], ln of the mirrored process, of a firing key.
        incident: float64[keys, 4], of a firing key: start, negatives, comments, evidence above
            the threshold when last told.
        folded: float64[keys, 2], negatives and comments behind the baseline.
        pending: float64[keys, 2], the same since the last refresh, outside incidents.
        mean: float64[keys], the baseline's mean share.
        bound: float64[keys], p₀ before the hour's season.
        now: float64[keys, 3], Σx, comments and Σx² of its latest step.
        step: int64[keys], the step of the latest comment, -1: none yet.
        status: int8[keys, 2], NONE or FIRING; the level that was told last.
    """

    evidence: F64
    cusum: F64
    start: F64
    since: F64
    calm: F64
    incident: F64
    folded: F64
    pending: F64
    mean: F64
    bound: F64
    now: F64
    step: I64
    status: I8


def new_keys(room: int) -> Keys:
    """Rows for `room` keys that nobody has commented on."""
    return Keys(
        evidence=np.full((room, BETS), -np.inf),
        cusum=np.zeros((room, BETS)),
        start=np.zeros((room, BETS)),
        since=np.zeros((room, BETS, 2)),
        calm=np.full((room, BETS), -np.inf),
        incident=np.zeros((room, 4)),
        folded=np.zeros((room, 2)),
        pending=np.zeros((room, 2)),
        mean=np.zeros(room),
        bound=np.zeros(room),
        now=np.zeros((room, 3)),
        step=np.full(room, -1, np.int64),
        status=np.zeros((room, 2), np.int8),
    )


def grown_keys(keys: Keys, room: int) -> Keys:
    """A copy with room for more."""
    fresh = new_keys(room)._asdict()
    for name, old in keys._asdict().items():
        fresh[name][: len(old)] = old
    return Keys(**fresh)


class Usual(NamedTuple):
    """What holds for all keys, and what it is learned from.

    Attributes:
        season: float64[24], factor on the share by hour of the day.
        seasonal: float64[24, 3], per hour: negatives, their expectation, its variance.
        spread: float64[1], ρ, the correlation of comments within a step.
        spreading: float64[3], over steps, with v = Σ (x − p)²: Σ ((Σx − np)² − v), Σ (n−1)v and
            Σ 2(n−1)v²/n.
    """

    season: F64
    seasonal: F64
    spread: F64
    spreading: F64


def new_usual() -> Usual:
    """No season, no spread, nothing learned."""
    return Usual(np.ones(HOURS), np.zeros((HOURS, 3)), np.zeros(1), np.zeros(3))


class Comments(NamedTuple):
    """Comments in the order they are observed.

    Attributes:
        negative: float64[n], x, the probability that it is negative.
        author: uint64[n], hash of the author's cluster, or of the author; 0: unknown.
        at: float64[n], event time.
        step: int64[n], step of the clock, which never goes back.
    """

    negative: F64
    author: U64
    at: F64
    step: I64
