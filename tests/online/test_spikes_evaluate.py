"""Replays, scores and the backtest; and, in small, the certificate that the nightly run gives."""

from __future__ import annotations

import numpy as np
import pytest

from online.spikes import SpikeMonitor
from online.spikes_evaluate import evaluate, item_alarms
from online.spikes_nulls import null_counts, null_stream
from online.spikes_replays import Stream, cell_of, injected, permuted
from online.spikes_scores import scored, upper95
from online.spikes_simulate import Spike, platform, stream

NOBODY = np.zeros(0, np.uint64)


def usual(days: float = 16.0, each: int = 80, keys: int = 12, seed: int = 0) -> Stream:
    rng = np.random.default_rng(seed)
    count = int(days * each * keys)
    at = np.sort(1_700_000_000.0 + days * 86_400.0 * rng.random(count))
    key = rng.integers(0, keys, count)
    return Stream(
        tuple(f"k{i}" for i in range(keys)), key, at, (rng.random(count) < 0.2).astype(float)
    )


def test_a_permuted_replay_keeps_every_key_and_hour_its_negatives() -> None:
    given = usual()
    cell, name = cell_of(given)
    other = permuted(given, np.random.default_rng(1))
    assert name == "hour of week" and (other.negative != given.negative).any()
    size = int(cell.max()) + 1
    np.testing.assert_array_equal(
        np.bincount(cell, other.negative, size), np.bincount(cell, given.negative, size)
    )


def test_injected_spikes_are_found_where_they_are_put() -> None:
    spiked, spikes = injected(usual(each=600), 8, np.random.default_rng(2))
    assert len(spikes) == 8 and (np.diff(spiked.at) >= 0).all()
    alarms = item_alarms(spiked, 1.0)
    found = scored(alarms, spikes, spiked.key, spiked.at, 12, 1.0)
    assert found.hits >= 4 and found.figures()["delay_minutes"] is not None


def test_a_hit_is_an_alarm_inside_the_spike_or_an_hour_after() -> None:
    spike = Spike(3, 100, 120, 3.0, 1.0, 0.2)
    key, at = np.full(200, 3), np.linspace(100, 120, 200, endpoint=False) * 300.0
    for step, hits, false in ((105, 1, 0), (131, 1, 0), (140, 0, 1), (99, 0, 1)):
        found = scored([(3, step * 300.0)], [spike], key, at, 10, 1.0)
        assert (found.hits, found.false_alarms) == (hits, false)


def test_limits_of_poisson_counts() -> None:
    assert upper95(0) == pytest.approx(2.996, abs=0.01)
    assert upper95(10) == pytest.approx(16.96, abs=0.02)


def test_a_backtest_of_a_small_file_has_every_figure() -> None:
    found = evaluate(usual(days=4, keys=3), 1.0, 2, True)
    assert {"alerts", "null", "injection", "peers"} <= set(found)
    assert set(found["peers"]) == {"z-score", "p-chart", "ewma", "binomial scan"}
    assert found["null"]["upper95"] > found["null"]["false_alarms_per_day"]
    one = Stream(("all",), np.zeros(1, np.int64), np.array([1e9]), np.ones(1))
    assert evaluate(one, 1.0, 1, False)["injection"]["recall"] is None


def alarms_of(columns: object, keys: int) -> int:
    names = [f"item:{i}" for i in range(keys)]
    monitor, found = SpikeMonitor(1.0), set()
    for each in columns:  # type: ignore[attr-defined]
        raised = monitor.observe_columns(names, each.negative, each.at, each.key, each.author)
        found |= {alarm.fingerprint for alarm in raised}
    return len(found)


@pytest.mark.parametrize(("correlation", "flood"), [(0.0, 0), (0.02, 0), (0.0, 300)])
def test_nulls_keep_the_budget(correlation: float, flood: int) -> None:
    labels = [np.arange(100) < 100 * share for share in (0.15, 0.3, 0.5)]
    counts = null_counts(labels, 150, 12, 1, correlation)
    assert alarms_of(null_stream(counts, 2, flood), 150) <= 12


def test_a_null_replay_has_the_labels_and_the_correlation_it_is_given() -> None:
    labels = [np.arange(100) < 20, np.arange(100) < 60]
    for correlation in (0.0, 0.05):
        n, x = (each.astype(float) for each in null_counts(labels, 60, 8, 3, correlation))
        p = np.array([[0.2], [0.6]] * 30)
        known = n.sum(1) > 500
        assert (x.sum(1) / n.sum(1))[known] == pytest.approx(p[known, 0], abs=0.07)
        v = p * (1 - p)
        found = ((x - n * p) ** 2 - n * v).sum() / (n * (n - 1) * v).sum()
        assert found == pytest.approx(correlation, abs=0.02)


def test_most_spikes_of_a_small_platform_are_found() -> None:
    made = platform(1, 200, 30)
    names, found = [f"item:{i}" for i in range(200)], []
    monitor = SpikeMonitor(1.0)
    for each in stream(made):
        raised = monitor.observe_columns(names, each.negative, each.at, each.key, each.author)
        found += [(int(a.key[5:]), a.raised_at) for a in raised if a.state == "firing"]
    hits = scored(found, made.spikes, NOBODY.astype(np.int64), np.zeros(0), 200, 1.0).hits
    assert hits >= 18
