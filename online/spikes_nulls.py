"""Null replays: months of comments with labels that people gave, and without a spike.

Every key draws its labels from one set of labelled comments, and has as many comments as a key of
`spikes_simulate.platform`; then its labels are permuted within the hour of the week.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from online.arrays import F64, I64
from online.spikes_replays import Stream, permuted
from online.spikes_simulate import STEP_SECONDS, STEPS_A_DAY, Columns, busy, columns

AT_ONCE = 24  # steps
FLOODED_AT = 144  # step of the day
FLOOD_SECONDS = 3_600.0


class Counts(NamedTuple):
    """Comments and negatives, uint16[keys, steps]."""

    comments: npt.NDArray[np.uint16]
    negatives: npt.NDArray[np.uint16]


def null_counts(
    labels: Sequence[npt.NDArray[np.bool_]],
    keys: int,
    days: int,
    seed: int,
    correlation: float = 0.0,
) -> Counts:
    """Counts of `days` without a spike.

    Args:
        labels: bool[n] of each set, whether a comment is negative; keys take turns among them.
        correlation: ρ of the labels within a step: its share is drawn from the Beta law around
            the key's.
    """
    rng = np.random.default_rng(seed)
    made = Counts(*(np.zeros((keys, days * STEPS_A_DAY), np.uint16) for _ in range(2)))
    volume = np.exp(rng.normal(0.0, 1.3, keys))
    daily = np.tile(busy(np.arange(STEPS_A_DAY) / STEPS_A_DAY), days)
    at: F64 = np.arange(len(daily), dtype=np.float64) * STEP_SECONDS
    for key in range(keys):
        count = rng.poisson(volume[key] * daily * np.exp(rng.normal(0, 0.15, len(daily))))
        step = np.repeat(np.arange(len(daily)), count)
        drawn = rng.choice(labels[key % len(labels)], len(step)).astype(np.float64)
        nobody = np.zeros(len(step), np.int64)
        given = permuted(Stream(("",), nobody, at[step], drawn), rng).negative
        negative = np.bincount(step, given, len(daily)).astype(np.int64)
        made.comments[key] = count
        made.negatives[key] = (
            _pulled(negative, count, correlation, rng) if correlation else negative
        )
    return made


def _pulled(negative: I64, count: I64, rho: float, rng: np.random.Generator) -> I64:
    """Negatives of steps whose shares vary around the key's."""
    worth = (1.0 - rho) / rho
    share = worth * (negative.sum() + 1e-3) / (count.sum() + 2e-3)
    return rng.binomial(count, rng.beta(share, worth - share, len(count)))


def null_stream(counts: Counts, seed: int, flood: int = 0) -> Iterator[Columns]:
    """The single comments of counts, two hours at a time.

    Args:
        flood: negative comments that one author writes on key 0 within an hour of every day.
    """
    rng = np.random.default_rng(seed)
    for first in range(0, counts.comments.shape[1], AT_ONCE):
        part = slice(first, first + AT_ONCE)
        x, n = (each[:, part].astype(np.int32) for each in (counts.negatives, counts.comments))
        made = columns(n, x, first * STEP_SECONDS, rng)
        yield _flooded(made, flood, rng) if flood and first % STEPS_A_DAY == FLOODED_AT else made


def _flooded(made: Columns, flood: int, rng: np.random.Generator) -> Columns:
    """One author's comments among the others'."""
    start = made.at[0] // FLOOD_SECONDS * FLOOD_SECONDS
    at = np.concatenate([made.at, start + rng.random(flood) * FLOOD_SECONDS])
    order = np.argsort(at, kind="stable")
    return Columns(
        np.concatenate([made.negative, np.ones(flood)])[order],
        at[order],
        np.concatenate([made.key, np.zeros(flood, np.int64)])[order],
        np.concatenate([made.author, np.full(flood, 7, np.uint64)])[order],
    )
