"""What others do: rules over five-minute counts, each given the threshold that fits it best.

z-score: negatives of the last hour against their mean and deviation over seven days. p-chart: share
of the last hour against the key's record, from 20 comments. EWMA: of the step's excess of negatives
(λ = .2), by its deviation. Binomial scan: the largest likelihood ratio in windows of 1 … 24 steps.
Thresholds are found afterwards, on the very run that is scored: the lowest whose false alarms stay
within the budget. That favours the rules; they could not know it beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from online.arrays import F64
from online.spikes_replays import Stream
from online.spikes_scores import Scores, scored
from online.spikes_simulate import STEP_SECONDS, Spike

MOST_CELLS = 20_000_000
WEEK = 2_016  # steps
TRIALS = 12


def counts(stream: Stream) -> tuple[F64, F64, int]:
    """Negatives and comments, float64[keys, steps], and the first step; keys beyond a bound fall
    out (those with the fewest comments are left empty)."""
    step = (stream.at // STEP_SECONDS).astype(np.int64)
    first, steps = int(step[0]), int(step[-1] - step[0]) + 1
    shape = (len(stream.names), steps)
    cell = stream.key * steps + step - first
    x: F64 = np.bincount(cell, stream.negative, shape[0] * shape[1]).reshape(shape).astype(float)
    n: F64 = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
    return x, n, first


def rolling(values: F64, width: int) -> F64:
    """Sums of the last `width` steps."""
    sums = np.cumsum(values, axis=1)
    sums[:, width:] -= sums[:, :-width].copy() if width < values.shape[1] else 0.0
    return sums


def expected(x: F64, n: F64, warm: int) -> F64:
    """Share to expect, float64[keys, 1 or steps]: of the warm-up, by the hour of the day."""
    x, n = x[:, :warm], n[:, :warm]
    level = (x.sum(1) + 3.0) / (n.sum(1) + 20.0)
    return np.asarray(np.clip(level, 0.003, 0.98)[:, None])


def z_score(x: F64, n: F64, p: F64) -> F64:
    """Deviations of the last hour's negatives from a week's."""
    hour = rolling(x, 12)
    width = min(WEEK, x.shape[1])
    seen = np.minimum(np.arange(1, x.shape[1] + 1), width)
    mean = rolling(hour, width) / seen
    return np.asarray(
        (hour - mean) / np.sqrt(np.maximum(rolling(hour**2, width) / seen - mean**2, 1e-3))
    )


def p_chart(x: F64, n: F64, p: F64) -> F64:
    """Standard errors by which the last hour's share is too high."""
    hour, size = rolling(x, 12), rolling(n, 12)
    z = (hour / np.maximum(size, 1) - p) / np.sqrt(p * (1 - p) / np.maximum(size, 1))
    return np.where(size >= 20, z, 0.0)


def ewma(x: F64, n: F64, p: F64) -> F64:
    """Exponentially weighted excess of negatives, by its deviation."""
    smooth, variance = np.zeros(len(x)), np.full(len(x), 1e-3)
    out = np.zeros(x.shape)
    excess, spread = x - n * p, n * p * (1 - p)
    for step in range(x.shape[1]):
        smooth = 0.8 * smooth + 0.2 * excess[:, step]
        variance = 0.64 * variance + 0.04 * (spread[:, step] + 1e-3)
        out[:, step] = smooth / np.sqrt(variance)
    return out


def binomial_scan(x: F64, n: F64, p: F64) -> F64:
    """The largest log-likelihood ratio over six windows."""
    best = np.zeros(x.shape)
    for width in (1, 2, 3, 6, 12, 24):
        negatives, size = rolling(x, width), rolling(n, width)
        q = np.clip(negatives / np.maximum(size, 1), 1e-9, 1 - 1e-9)
        ratio = negatives * np.log(q / p) + (size - negatives) * np.log((1 - q) / (1 - p))
        best = np.maximum(best, np.where((q > p) & (size > 0), ratio, 0.0))
    return best


PEERS: dict[str, Callable[[F64, F64, F64], F64]] = {
    "z-score": z_score,
    "p-chart": p_chart,
    "ewma": ewma,
    "binomial scan": binomial_scan,
}


def tuned(
    name: str, stream: Stream, spikes: Sequence[Spike], budget: float, warm: float
) -> tuple[float, Scores]:
    """A rule at the lowest threshold that keeps the budget on this run; threshold and scores.

    Args:
        warm: epoch seconds until which a rule only learns.
    """
    x, n, first = counts(stream)
    since = max(int(warm // STEP_SECONDS) - first, 1)
    values = PEERS[name](x, n, expected(x, n, since))
    values[:, :since] = 0.0
    days = (values.shape[1] - since) * STEP_SECONDS / 86_400.0
    low, high = 0.0, float(values.max()) + 1.0
    best = _at(values, high, stream, spikes, budget, first)
    for _ in range(TRIALS):
        middle = (low + high) / 2.0
        found = _at(values, middle, stream, spikes, budget, first)
        if found.false_alarms <= budget * days:
            high, best = middle, found
        else:
            low = middle
    return high, best


def _at(
    values: F64,
    threshold: float,
    stream: Stream,
    spikes: Sequence[Spike],
    budget: float,
    first: int,
) -> Scores:
    step, key = np.nonzero((values >= threshold).T)
    alarms: list[tuple[int, float]] = list(
        zip(key.tolist(), ((step + first + 0.5) * STEP_SECONDS).tolist(), strict=True)
    )
    return scored(alarms, spikes, stream.key, stream.at, len(stream.names), budget)
