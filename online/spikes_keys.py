"""The detectors' tables: a row for every key, arrays, so that a snapshot is a copy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import F64, I8, I32, I64, U64

BETS = 4  # on the odds ratio of the share
RISES = 3  # bets on the rate of negative comments
NONE, FIRING = 0, 1
ORDINARY, ITEM, COMMON = 0, 1, 2  # kinds of keys; COMMON: of a version of the classifier
HOURS = 168  # of the season: Monday 0 h first
CROWD = 64  # keys that may be watched together by e-d-BH
VERSIONS = 64  # of the classifier, that have a factor of their own


class Keys(NamedTuple):
    """One row a key. Times are epoch seconds, evidence natural logarithms.

    "Negatives" are sums of x, the probabilities that comments are negative.

    Attributes:
        evidence: float64[keys, bets], ln M of the share channel.
        volume: float64[keys, rises], ln M of the volume channel.
        total: float64[keys], ln of both channels' mixture.
        cusum: float64[keys, bets], ln W, 0 where it rests.
        start: float64[keys, bets], when W last left 1.
        since: float64[keys, bets, 2], Σx and comments since then.
        calm: float64[keys, bets], ln of the mirrored process, of a firing key.
        incident: float64[keys, 4], of a firing key: start, negatives, comments, evidence above
            the threshold when last told.
        folded: float64[keys, 3], behind the baseline: negatives, comments by their season's
            factor, steps by their season's factor.
        pending: float64[keys, 3], the same since the last refresh, outside incidents.
        mean: float64[keys], the baseline's mean share at the last refresh.
        rate: float64[keys], negatives a step to expect at most; 0: not known yet.
        now: float64[keys, 3], Σx, comments and Σ(x − p)² of its latest step.
        step: int64[keys], the step of the latest comment, -1: none yet.
        born: int64[keys], the step from which its exposure is counted.
        parent: int64[keys], the key under which its alarms are grouped, -1: none.
        status: int8[keys, 4], NONE or FIRING; the level that was told last; the kind of key; 1
            where most of the incident's evidence was its volume.
    """

    evidence: F64
    volume: F64
    total: F64
    cusum: F64
    start: F64
    since: F64
    calm: F64
    incident: F64
    folded: F64
    pending: F64
    mean: F64
    rate: F64
    now: F64
    step: I64
    born: I64
    parent: I64
    status: I8


def new_keys(room: int) -> Keys:
    """Rows for `room` keys that nobody has commented on."""
    return Keys(
        evidence=np.full((room, BETS), -np.inf),
        volume=np.full((room, RISES), -np.inf),
        total=np.full(room, -np.inf),
        cusum=np.zeros((room, BETS)),
        start=np.zeros((room, BETS)),
        since=np.zeros((room, BETS, 2)),
        calm=np.full((room, BETS), -np.inf),
        incident=np.zeros((room, 4)),
        folded=np.zeros((room, 3)),
        pending=np.zeros((room, 3)),
        mean=np.zeros(room),
        rate=np.zeros(room),
        now=np.zeros((room, 3)),
        step=np.full(room, -1, np.int64),
        born=np.full(room, -1, np.int64),
        parent=np.full(room, -1, np.int64),
        status=np.zeros((room, 4), np.int8),
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
        season: float64[168], factor on the share by hour of the week.
        seasonal: float64[168, 3], per hour: negatives, their expectation, its variance.
        loudness: float64[168], factor on the number of comments.
        loud: float64[168], comments by hour.
        spread: float64[1], ρ, the correlation of comments within a step.
        spreading: float64[3], over steps, with v = Σ (x − p)²: Σ ((Σx − np)² − v), Σ (n−1)v and
            Σ 2(n−1)v²/n.
        prior: float64[2], mean and worth in comments of the Beta law of the keys' shares.
        steps: float64[5], ln w, what a step with comments may add to M; such steps so far; all
            steps; of these, how many a key are in store for weights; up to which step.
        burst: float64[3], 1/κ of the rate's gamma law, Σ ((n − μ)² − n) and Σ μ² over steps.
        versions: float64[64, 2], negatives and their expectation by version of the classifier.
        crowd: int64[64], keys near an alarm, -1: free.
    """

    season: F64
    seasonal: F64
    loudness: F64
    loud: F64
    spread: F64
    spreading: F64
    prior: F64
    steps: F64
    burst: F64
    versions: F64
    crowd: I64


def new_usual() -> Usual:
    """No season, no spread, nothing learned."""
    return Usual(
        season=np.ones(HOURS),
        seasonal=np.zeros((HOURS, 3)),
        loudness=np.ones(HOURS),
        loud=np.zeros(HOURS),
        spread=np.zeros(1),
        spreading=np.zeros(3),
        prior=np.array([0.5, 4.0]),
        steps=np.array([0.0, 0.0, 0.0, 0.0, -np.inf]),  # the store is full at first
        burst=np.zeros(3),
        versions=np.zeros((VERSIONS, 2)),
        crowd=np.full(CROWD, -1, np.int64),
    )


class Comments(NamedTuple):
    """Comments in the order they are observed.

    Attributes:
        negative: float64[n], x, the probability that it is negative.
        author: uint64[n], hash of the author's cluster, or of the author; 0: unknown.
        at: float64[n], event time.
        step: int64[n], step of the clock, which never goes back.
        version: int32[n], of the classifier; 0: the first.
    """

    negative: F64
    author: U64
    at: F64
    step: I64
    version: I32


def part(comments: Comments, first: int, last: int) -> Comments:
    """Comments first … last − 1."""
    return Comments(
        comments.negative[first:last],
        comments.author[first:last],
        comments.at[first:last],
        comments.step[first:last],
        comments.version[first:last],
    )
