"""How fast the detectors take comments: many keys, one core."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from online.spikes import Observation, SpikeMonitor

BATCH = 2_000
TOPICS = 50


def measured(
    keys: int, comments: int, runs: int, progress: Callable[[str, float], None]
) -> dict[str, Any]:
    """Comments a second of a monitor that knows `keys` items already; the median of `runs`."""
    rng = np.random.default_rng(0)
    monitor = SpikeMonitor(max_keys=keys + TOPICS + 2)
    progress("making keys", 0.0)
    at = 1_700_000_000.0
    for first in range(0, keys, 20_000):
        monitor.observe(_observed(range(first, min(first + 20_000, keys)), rng, at, 3_600.0))
    rates = []
    for run in range(runs):
        at += 7_200.0
        items = rng.integers(0, keys, comments)
        seen = _observed(items.tolist(), rng, at, 3_600.0)
        progress("measuring", run / runs)
        began = time.perf_counter()
        for first in range(0, comments, BATCH):
            monitor.observe(seen[first : first + BATCH])
        rates.append(comments / (time.perf_counter() - began))
    state = sum(array.nbytes for array in monitor.state().values())
    rate = statistics.median(rates)
    return {"per_second": rate, "us_per_comment": 1e6 / rate, "bytes_per_key": state / keys}


def _observed(
    items: range | list[int], rng: np.random.Generator, at: float, seconds: float
) -> list[Observation]:
    negative = rng.random(len(items)) < 0.2
    times = np.sort(at + rng.random(len(items)) * seconds)
    authors = rng.integers(1, 2**62, len(items))
    return [
        Observation(
            f"i{item}", (f"t{item % TOPICS}",), float(x), int(author), float(when), "v1", "en"
        )
        for item, x, author, when in zip(items, negative, authors, times, strict=True)
    ]
