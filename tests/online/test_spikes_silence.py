"""Silences, leaps of the clock and thin streams: they raise no alarm, and hide no spike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from online.arrays import F64, I64
from online.spikes import Alarm, SpikeMonitor
from online.spikes_keys import new_usual
from online.spikes_step import STORED, weight

DAY = 86_400.0
START = 1_700_006_400.0
ITEMS = 50
NAMES = [*(f"item:{i}" for i in range(ITEMS)), "topic:t", "tenant"]


class Talk(NamedTuple):
    """Comments in order: epoch seconds, item, negative."""

    at: F64
    item: I64
    negative: F64


def shares(seed: int) -> F64:
    return np.random.default_rng(seed).beta(3, 17, ITEMS)


def usual(seed: int, first: float, days: float, a_day: float) -> Talk:
    """Comments of some days from `first` on (in days), `a_day` on each item."""
    rng = np.random.default_rng([seed, int(first)])
    count = rng.poisson(ITEMS * a_day * days)
    at = START + DAY * (first + days * np.sort(rng.random(count)))
    item = rng.integers(0, ITEMS, count)
    return Talk(at, item, (rng.random(count) < shares(seed)[item]).astype(np.float64))


def spike(first: float, item: int) -> Talk:
    """Forty comments on one item within half an hour, nearly all of them negative."""
    rng = np.random.default_rng(item)
    at = START + DAY * first + 1_800.0 * np.sort(rng.random(40))
    return Talk(at, np.full(40, item), (rng.random(40) < 0.9).astype(np.float64))


def raised(monitor: SpikeMonitor, *talks: Talk) -> list[Alarm]:
    """Incidents, each at its first alarm; every comment goes to item, topic and tenant."""
    found: dict[str, Alarm] = {}
    at, item, negative = (np.concatenate(columns) for columns in zip(*talks, strict=True))
    order = np.argsort(at, kind="stable")
    above = np.tile([ITEMS, ITEMS + 1], (len(at), 1))
    key = np.column_stack([item[order], above]).ravel()
    nobody = np.zeros(len(key), np.uint64)
    x, t = np.repeat(negative[order], 3), np.repeat(at[order], 3)
    for alarm in monitor.observe_columns(NAMES, x, t, key, nobody):
        if alarm.state == "firing":
            found.setdefault(alarm.fingerprint, alarm)
    return list(found.values())


SEEDS = range(4)


@pytest.mark.parametrize("silence", [10, 60])
@pytest.mark.parametrize("a_day", [30.0, 5.0, 1.0])
def test_after_a_silence_usual_comments_keep_the_budget(a_day: float, silence: int) -> None:
    found = []
    for seed in SEEDS:
        monitor = SpikeMonitor()
        raised(monitor, usual(seed, 0, 30, a_day))
        found += raised(monitor, usual(seed, 30 + silence, 7, a_day))
    assert len(found) <= 7 * len(SEEDS)
    assert sum(alarm.comments == 1 for alarm in found) <= len(SEEDS)


@pytest.mark.parametrize("silence", [7, 30])
def test_a_silence_makes_no_rate_smaller(silence: int) -> None:
    """Half the rate would be evidence of 10³⁰⁰ for a rise, within a day."""
    monitor = SpikeMonitor()
    raised(monitor, usual(0, 0, 30, 30.0))
    before = monitor.state()["keys.rate"][:ITEMS]
    raised(monitor, usual(0, 30 + silence, 6, 30.0))
    after = monitor.state()["keys.rate"][:ITEMS]
    known = (before > 0) & (after > 0)
    assert known.mean() > 0.8
    assert 0.9 < np.median(after[known] / before[known]) < 1.3


def test_minutes_of_comments_a_month_apart_are_silent() -> None:
    found = []
    for seed in SEEDS:
        monitor = SpikeMonitor()
        for month in range(6):
            found += raised(monitor, usual(seed, 30.0 * month, 60 / DAY, 4 * DAY / 60))
    assert len(found) <= len(SEEDS)


def test_one_comment_of_years_ago_is_no_silence_of_years() -> None:
    old = Talk(np.array([START - 3_650 * DAY]), np.zeros(1, np.int64), np.zeros(1))
    found = []
    for seed in SEEDS:
        monitor = SpikeMonitor()
        found += raised(monitor, old, usual(seed, 0, 7, 30.0))
        assert np.isfinite(monitor.state()["usual.season"]).all()
    assert len(found) <= 7 * len(SEEDS)


def test_one_comment_from_the_future_ages_a_record_by_a_fortnight_or_so() -> None:
    monitor, other = SpikeMonitor(), SpikeMonitor()
    raised(monitor, usual(0, 0, 30, 30.0))
    other.load(monitor.state())
    raised(monitor, Talk(np.array([START + 4_000 * DAY]), np.zeros(1, np.int64), np.zeros(1)))
    raised(other, usual(0, 30, 0.1, 30.0))
    far, near = monitor.state(), other.state()
    np.testing.assert_allclose(far["usual.prior"], near["usual.prior"], rtol=0.1)
    record = far["keys.folded"][:, 1] / near["keys.folded"][:, 1]
    assert (record > 0.9**16).all()
    assert 0.5 < np.exp(far["usual.steps"][0] - near["usual.steps"][0]) < 2.0


def test_a_stream_that_grows_a_hundredfold_keeps_near_the_budget() -> None:
    """Weights learned from a thin month would be worth fifty days of budget a day."""
    found = []
    for seed in SEEDS:
        monitor = SpikeMonitor()
        raised(monitor, usual(seed, 0, 30, 0.3))
        found += [a for a in raised(monitor, usual(seed, 30, 2, 30.0)) if a.channel == "share"]
    assert len(found) <= 3 * len(SEEDS)


def test_a_thin_stream_keeps_the_budget() -> None:
    found = []
    for seed in SEEDS:
        found += raised(SpikeMonitor(), usual(seed, 0, 30, 1.0))
    assert len(found) <= 30


@pytest.mark.parametrize("a_day", [30.0, 5.0])
@pytest.mark.parametrize("silence", [0, 30, 100])
def test_a_spike_right_after_a_silence_is_told(silence: int, a_day: float) -> None:
    first = 30.0 + silence
    for seed in SEEDS:
        monitor = SpikeMonitor()
        raised(monitor, usual(seed, 0, 30, a_day))
        found = raised(monitor, usual(seed, first, 1, a_day), spike(first + 1 / 24, 7))
        told = [alarm for alarm in found if alarm.key == "item:7"]
        assert told and told[0].comments < 20
        assert abs(told[0].started_at - (START + DAY * (first + 1 / 24))) < 3_600


def test_an_incident_ends_in_the_silence_and_another_one_begins_after_it() -> None:
    monitor = SpikeMonitor()
    raised(monitor, usual(0, 0, 30, 30.0), spike(29.99, 7))
    assert "item:7" in monitor.firing()
    raised(monitor, usual(0, 60, 0.01, 30.0))
    assert "item:7" not in monitor.firing()
    assert any(alarm.key == "item:7" for alarm in raised(monitor, spike(60.1, 7)))


def test_weights_run_no_more_than_a_day_ahead_of_time() -> None:
    rng = np.random.default_rng(0)
    for learned in (1.0, 40.0, 10_000.0):
        usual_, added = new_usual(), 0.0
        usual_.steps[0] = np.log(learned)
        steps = np.sort(rng.integers(0, 1_000, 20_000))
        for step in steps.tolist():
            w = float(np.exp(weight(usual_, step, 1 / 10)))
            assert w <= learned + 1e-6
            added += w
            assert added <= 10 * (step - steps[0] + STORED) * (1 + 1e-9)


def test_a_checkpoint_of_before_the_store_is_read() -> None:
    monitor, again = SpikeMonitor(), SpikeMonitor()
    raised(monitor, usual(0, 0, 3, 5.0))
    kept = monitor.state()
    again.load({**kept, "usual.steps": kept["usual.steps"][:3]})
    np.testing.assert_array_equal(again.state()["usual.steps"][:3], kept["usual.steps"][:3])
    assert again.state()["usual.steps"][4] == -np.inf
