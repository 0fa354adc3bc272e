"""Replays of a file of comments: without its spikes, and with spikes whose places are known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import F64, I64
from online.spikes_simulate import STEP_SECONDS, Spike

WEEK, DAY, HOUR = 604_800.0, 86_400.0, 3_600.0
TIMES_SHARE, TIMES_VOLUME = (2, 3, 4), (1, 2, 5)
MOST_SHARE = 0.9


class Stream(NamedTuple):
    """Comments in order of time.

    Attributes:
        names: of keys.
        key: int64[n], index into `names`.
        at: float64[n], epoch seconds.
        negative: float64[n], 1 or 0, or a probability.
    """

    names: tuple[str, ...]
    key: I64
    at: F64
    negative: F64

    @property
    def days(self) -> float:
        """From the first comment to the last."""
        return float(self.at[-1] - self.at[0]) / DAY if len(self.at) else 0.0


def cell_of(stream: Stream) -> tuple[I64, str]:
    """Key and season within which comments may change places; int64[n], and its name.

    An hour of the week must come at least twice, or its own spike would stay where it is.
    """
    if stream.days >= 2 * WEEK / DAY:
        return stream.key * 168 + (stream.at % WEEK // HOUR).astype(np.int64), "hour of week"
    if stream.days >= 2.0:
        return stream.key * 24 + (stream.at % DAY // HOUR).astype(np.int64), "hour of day"
    return stream.key, "key"


def permuted(stream: Stream, rng: np.random.Generator) -> Stream:
    """The same comments at the same times, their labels permuted within key and season."""
    cell, _ = cell_of(stream)
    chance = rng.random(len(cell))
    places, sources = np.lexsort((stream.at, cell)), np.lexsort((chance, cell))
    labels = np.empty(len(cell))
    labels[places] = stream.negative[sources]
    return stream._replace(negative=labels)


def injected(
    stream: Stream, spikes: int, rng: np.random.Generator, quiet: float = 0.3
) -> tuple[Stream, list[Spike]]:
    """A stream with spikes: true negatives in place of others, and more comments.

    Share × {2, 3, 4}, number × {1, 2, 5}, for 1 to 3 hours, at most one a key.

    Args:
        spikes: at most so many.
        quiet: part of the time, from the beginning, in which there are none.

    Returns:
        The stream, and the spikes in steps since 1970.
    """
    begin = stream.at[0] + quiet * (stream.at[-1] - stream.at[0])
    late = np.flatnonzero((stream.at >= begin) & (stream.at <= stream.at[-1] - 3 * HOUR))
    sums = np.bincount(stream.key, stream.negative, len(stream.names))
    shares = (sums + 1.0) / (np.bincount(stream.key, minlength=len(stream.names)) + 5.0)
    negative, made = stream.negative.copy(), []
    more: list[tuple[I64, F64, F64]] = []
    taken: set[int] = set()
    for row in rng.permutation(late):
        key = int(stream.key[row])
        if key in taken:
            continue
        taken.add(key)
        first = int(stream.at[row] // STEP_SECONDS)
        last = first + int(rng.integers(12, 37))
        times, louder = int(rng.choice(TIMES_SHARE)), int(rng.choice(TIMES_VOLUME))
        inside = stream.at // STEP_SECONDS
        rows = np.flatnonzero((stream.key == key) & (inside >= first) & (inside < last))
        share = min(float(shares[key]) * times, MOST_SHARE)
        negative[rows] = rng.random(len(rows)) < share
        count = (louder - 1) * len(rows)
        at = (first + (last - first) * rng.random(count)) * STEP_SECONDS
        more.append((np.full(count, key), at, (rng.random(count) < share).astype(np.float64)))
        made.append(Spike(key, first, last, times, louder, float(shares[key])))
        if len(made) == spikes or len(taken) == len(stream.names):
            break
    keys = np.concatenate([stream.key, *(each[0] for each in more)]).astype(np.int64)
    at = np.concatenate([stream.at, *(each[1] for each in more)])
    labels = np.concatenate([negative, *(each[2] for each in more)])
    order = np.argsort(at, kind="stable")
    return Stream(stream.names, keys[order], at[order], labels[order]), made
