"""The verdict of a soak on samples whose truth is known: an hour of them in no time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.soak_verdict import MEGABYTE, Sample, judge, median_slope, slope

OWN = ("worker", "api")


def samples(
    mb_a_minute: float = 0.0, drift: float = 0.0, minutes: float = 30.0, noise: float = 1.0
) -> list[Sample]:
    """A look every 5 s; memory rises in the first five minutes whatever comes after."""
    chance = np.random.default_rng(7)
    found = []
    for seconds in np.arange(5.0, minutes * 60, 5.0):
        filling = 200 * min(1.0, seconds / 300)
        grown = 500 + filling + mb_a_minute * seconds / 60 + noise * chance.normal()
        slower = 1 + drift * seconds / (minutes * 60)
        busy = 20.0 if chance.random() < 0.05 else 1.0  # the machine's moments, not ours
        rss = {"worker": int(grown * MEGABYTE), "api": 80_000_000, "kafka": int(seconds * 1e6)}
        found.append(
            Sample(seconds, rss, 9 * slower, 40 * slower * busy * chance.uniform(0.8, 1.2))
        )
    return found


@pytest.mark.parametrize(("mb_a_minute", "holds"), [(0.0, True), (0.9, True), (1.1, False)])
def test_memory_may_grow_by_a_megabyte_a_minute(mb_a_minute: float, holds: bool) -> None:
    verdict = judge(samples(mb_a_minute), 300.0, OWN)
    assert verdict.ok is holds
    assert verdict.mb_a_minute["worker"] == pytest.approx(mb_a_minute, abs=0.05)
    assert verdict.mb_a_minute["kafka"] > 50  # shown, and not ours


def test_what_grows_in_the_warm_up_alone_does_not_count() -> None:
    assert judge(samples(), 300.0, OWN).ok
    assert not judge(samples(), 0.0, OWN).ok


@pytest.mark.parametrize(("drift", "holds"), [(0.0, True), (0.1, True), (0.5, False)])
def test_latency_may_not_drift(drift: float, holds: bool) -> None:
    assert judge(samples(drift=drift), 300.0, OWN).ok is holds


def test_too_few_samples_hold_nothing() -> None:
    assert not judge(samples(minutes=5.5), 300.0, OWN).ok


def test_lists_that_do_not_come_hold_nothing() -> None:
    silent = [Sample(s.seconds, s.rss, math.nan, math.nan) for s in samples()]
    assert not judge(silent, 300.0, OWN).ok


@given(st.floats(-5, 5), st.floats(-100, 100), st.integers(3, 40))
def test_both_slopes_are_a_line_s_own(rise: float, start: float, n: int) -> None:
    x = np.linspace(0.0, 9.0, n)
    assert slope(x, start + rise * x) == pytest.approx(rise, abs=1e-6)
    assert median_slope(x, start + rise * x) == pytest.approx(rise, abs=1e-6)
