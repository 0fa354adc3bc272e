"""The calibration simulation: many keys, usual weeks, and spikes whose places are known.

Share p₀ ~ Beta(3, 17); comments a step of five minutes log-normal over keys (median 1, σ 1.3),
6× swing of their number and ±25 % of the share over a day, 15 % noise. After seven days of warm-up
`spikes` keys rise once each: share × {2, 3, 4}, number × {1, 2, 5}, for 12–36 steps. With
over-dispersion ρ the share of a step is drawn from a Beta law of that correlation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from online.arrays import F64, I64, U64

STEPS_A_DAY = 288
STEP_SECONDS = 300.0
WARM_UP_DAYS, TEST_DAYS = 7, 7


class Spike(NamedTuple):
    """Steps first … last − 1 of a key; times its usual share and number of comments."""

    key: int
    first: int
    last: int
    share: float
    volume: float
    usual: float


class Platform(NamedTuple):
    """What was simulated.

    Attributes:
        comments, negatives: int32[keys, steps].
        spikes: where they are.
        warm_up: steps before the first spike may come.
    """

    comments: npt.NDArray[np.int32]
    negatives: npt.NDArray[np.int32]
    spikes: list[Spike]
    warm_up: int


def busy(hour: F64) -> F64:
    """Factor on the number of comments by the time of day (0 … 1): a 6× swing."""
    return np.asarray(np.exp(0.9 * np.sin(2 * np.pi * (hour - 0.3))))


def platform(seed: int, keys: int = 2_000, spikes: int = 200, correlation: float = 0.0) -> Platform:
    """Two weeks of comments.

    Args:
        correlation: ρ of comments within a step.
    """
    rng = np.random.default_rng(seed)
    warm_up, steps = WARM_UP_DAYS * STEPS_A_DAY, (WARM_UP_DAYS + TEST_DAYS) * STEPS_A_DAY
    hour = (np.arange(steps) % STEPS_A_DAY) / STEPS_A_DAY
    swing = 1 + 0.25 * np.sin(2 * np.pi * (hour - 0.8))
    volume = np.exp(rng.normal(0.0, 1.3, keys))
    usual = rng.beta(3, 17, keys)
    rate = volume[:, None] * busy(hour) * np.exp(rng.normal(0, 0.15, (keys, steps)))
    share = np.clip(usual[:, None] * swing, 0.002, 0.9)
    made = []
    candidates = np.flatnonzero(volume > 0.7)
    for key in rng.choice(candidates, spikes, replace=False) if spikes else ():
        first = warm_up + int(rng.integers(STEPS_A_DAY, TEST_DAYS * STEPS_A_DAY - 60))
        last = first + int(rng.integers(12, 37))
        times, louder = float(rng.choice([2, 3, 4])), float(rng.choice([1, 2, 5]))
        made.append(Spike(int(key), first, last, times, louder, float(share[key, first])))
        share[key, first:last] = np.minimum(share[key, first:last] * times, 0.9)
        rate[key, first:last] *= louder
    comments = rng.poisson(rate)
    if correlation:
        spread = (1 - correlation) / correlation
        share = rng.beta(share * spread, (1 - share) * spread)
    negatives = rng.binomial(comments, share)
    return Platform(comments.astype(np.int32), negatives.astype(np.int32), made, warm_up)


class Columns(NamedTuple):
    """Comments in order of time: probability (0 or 1), epoch seconds, key, author."""

    negative: F64
    at: F64
    key: I64
    author: U64


def stream(made: Platform, steps: int = 24, start: float = 0.0) -> Iterator[Columns]:
    """The comments, each by an author of its own, `steps` at a time."""
    rng = np.random.default_rng(99)
    for first in range(0, made.comments.shape[1], steps):
        yield columns(
            made.comments[:, first : first + steps], made.negatives[:, first : first + steps],
            start + first * STEP_SECONDS, rng,
        )  # fmt: skip


def columns(
    comments: npt.NDArray[np.int32],
    negatives: npt.NDArray[np.int32],
    start: float,
    rng: np.random.Generator,
) -> Columns:
    """Single comments of counts (int32[keys, steps]), shuffled within a step."""
    count = comments.T.ravel()
    cell = np.repeat(np.arange(count.size), count)
    place = np.arange(len(cell)) - np.repeat(np.cumsum(count) - count, count)
    negative = (place < np.repeat(negatives.T.ravel(), count)).astype(np.float64)
    step, key = np.divmod(cell, len(comments))
    at = start + (step + rng.random(len(cell))) * STEP_SECONDS
    order = np.argsort(at, kind="stable")
    return Columns(negative[order], at[order], key[order], np.zeros(len(cell), np.uint64))
