"""What samples of a long run say: whether memory grows, and whether latency drifts.

Memory by least squares, so that one late step counts; latency by Theil and Sen (Sen 1968,
"Estimates of the regression coefficient based on Kendall's tau"): the median slope of two samples,
which one busy moment of the machine does not move.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

MOST_MB_A_MINUTE = 1.0
MOST_DRIFT = 0.2
FEWEST = 10  # samples after the warm-up: fewer say nothing
MEGABYTE = 1_000_000.0


class Sample(Struct, frozen=True):
    """One look at everything.

    Attributes:
        seconds: since the load began.
        rss: process → resident bytes.
        p50_ms, p99_ms: of the lists since the sample before; NaN where none was followed.
    """

    seconds: float
    rss: dict[str, int]
    p50_ms: float
    p99_ms: float


class SoakVerdict(Struct, frozen=True):
    """Holds if every own process grows by ≤ 1 MB a minute and latency does not rise by 20 %.

    Attributes:
        mb_a_minute: process → slope after the warm-up.
        drift: of p50 and p99: what the trend adds from the first to the last sample, over the
            median.
    """

    ok: bool
    samples: int
    mb_a_minute: dict[str, float]
    drift: dict[str, float]


def judge(samples: Sequence[Sample], warm_up_seconds: float, own: Sequence[str]) -> SoakVerdict:
    """The verdict on what was sampled after the warm-up; `own` names the processes that count."""
    kept = [sample for sample in samples if sample.seconds >= warm_up_seconds]
    if len(kept) < FEWEST:
        return SoakVerdict(False, len(kept), {}, {})
    minutes = np.array([sample.seconds / 60 for sample in kept])
    names = sorted({name for sample in kept for name in sample.rss})
    slopes = {
        name: slope(minutes, np.array([s.rss.get(name, 0) for s in kept]) / MEGABYTE)
        for name in names
    }
    drift = {
        "p50": _drift(minutes, np.array([sample.p50_ms for sample in kept])),
        "p99": _drift(minutes, np.array([sample.p99_ms for sample in kept])),
    }
    ok = all(slopes[name] <= MOST_MB_A_MINUTE for name in own) and all(
        value <= MOST_DRIFT for value in drift.values()
    )
    return SoakVerdict(
        ok, len(kept), {n: round(s, 3) for n, s in slopes.items()},
        {n: round(d, 3) for n, d in drift.items()},
    )  # fmt: skip


def slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Least squares: float64[n] on float64[n]."""
    apart = x - x.mean()
    return float(apart @ (y - y.mean()) / (apart @ apart))


def median_slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Theil and Sen: the median of (yⱼ − yᵢ) / (xⱼ − xᵢ) over i < j."""
    i, j = np.triu_indices(len(x), 1)
    return float(np.median((y[j] - y[i]) / (x[j] - x[i])))


def _drift(minutes: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    seen = np.isfinite(values)
    if seen.sum() < FEWEST:
        return float("inf")  # lists that do not come are no good sign
    x, y = minutes[seen], values[seen]
    return median_slope(x, y) * float(x[-1] - x[0]) / float(np.median(y))
