"""Event time in order, whatever order the partitions come in; a live stream never waits."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online.spikes import Observation, SpikeMonitor
from streams import monitor_order
from streams.monitor_order import Reordering, Waiting

NOW = 1_760_000_000.0


def comment(at: float, source: int = 0, offset: int = 0) -> Waiting:
    return Waiting(at, source, offset, "default", Observation("i", (), 0.7, 1, at))


def streams(seed: int, partitions: int = 4, each: int = 50) -> list[list[Waiting]]:
    """Partitions that are in order, an hour to a day old."""
    rng = np.random.default_rng(seed)
    made = []
    for source in range(partitions):
        times = np.sort(rng.uniform(NOW - 86_400, NOW - 3_600, each))
        made.append([comment(float(t), source, i) for i, t in enumerate(times)])
    return made


@given(st.integers(0, 1_000), st.integers(1, 40), st.randoms(use_true_random=False))
def test_partitions_that_run_ahead_wait_for_the_others(
    seed: int, batch: int, chance: object
) -> None:
    order, out = Reordering(4), []
    parts = streams(seed)
    everything = sorted(each for part in parts for each in part)
    while any(parts):
        part = chance.choice([part for part in parts if part])  # type: ignore[attr-defined]
        out += order.take([part.pop(0) for _ in range(min(batch, len(part)))], NOW, 1.0)
    out += order.release(1.0 + monitor_order.QUIET_SECONDS)
    assert out == everything and len(order) == 0


def test_a_live_comment_passes_at_once() -> None:
    order = Reordering(4)
    order.take([comment(NOW - 7_200, source=0)], NOW, 0.0)
    live = comment(NOW - 5, source=1, offset=3)
    assert live in order.take([live], NOW, 0.1)


def test_a_silent_partition_holds_nobody_up_for_ever() -> None:
    order, out = Reordering(2), []
    order.take([comment(NOW - 9_000, source=0)], NOW, 0.0)
    last = int(monitor_order.IDLE_SECONDS)
    for second in range(last + 1):
        assert len(out) <= 1
        out += order.take([comment(NOW - 8_000 + second, 1, second)], NOW, float(second))
    assert [each.offset for each in out if each.source == 1] == list(range(last))


def test_the_end_of_a_stream_lets_everything_go() -> None:
    order = Reordering(4)
    order.take([comment(NOW - 9_000, source=0)], NOW, 0.0)
    order.take([comment(NOW - 8_000 - i, source=1, offset=i) for i in range(9)], NOW, 0.0)
    assert order.release(monitor_order.QUIET_SECONDS / 2) == [] or len(order) > 0
    out = order.release(monitor_order.QUIET_SECONDS)
    assert out == sorted(out) and len(order) == 0


@pytest.mark.data
def test_a_replay_at_full_speed_raises_the_alarms_of_the_stream_in_order(shared_dir: Path) -> None:
    path = shared_dir / "data" / "stream-en-airline" / "tweets.csv.gz"
    with gzip.open(path, "rt") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["time"])
    parts: list[list[Waiting]] = [[], [], [], []]
    for number, row in enumerate(rows):
        at = datetime.fromisoformat(row["time"]).replace(tzinfo=UTC).timestamp()
        negative = row["airline_sentiment"] == "negative"
        seen = Observation(row["airline"], (), negative, number + 1, at)
        part = parts[number * 7 % 11 % 4]
        part.append(Waiting(at, number * 7 % 11 % 4, len(part), "default", seen))
    in_order = sorted(each for part in parts for each in part)
    expected = SpikeMonitor().observe([each.observation for each in in_order])
    order, monitor, alarms, awake = Reordering(4), SpikeMonitor(), [], 0.0
    while any(parts):
        for source in range(4):  # a batch of one partition, then of the next: 4 s each
            batch, parts[source] = parts[source][:2_000], parts[source][2_000:]
            for start in range(0, len(batch), 64):
                awake += 0.13
                ready = order.take(batch[start : start + 64], NOW, awake)
                alarms += monitor.observe([each.observation for each in ready])
    ready = order.release(awake + monitor_order.QUIET_SECONDS)
    alarms += monitor.observe([each.observation for each in ready])
    assert alarms == expected and any(alarm.key == "item:United" for alarm in alarms)


def test_what_waits_is_bounded() -> None:
    order = Reordering(4)
    order.take([comment(NOW - 90_000, source=0)], NOW, 0.0)
    many = [comment(NOW - 80_000 + i / 10, 1, i) for i in range(monitor_order.MOST_WAITING + 500)]
    out = order.take(many, NOW, 0.0)
    assert len(order) == monitor_order.MOST_WAITING
    assert [each for each in out if each.source == 1] == many[:500]


def test_what_waits_survives_in_the_checkpoint() -> None:
    order, other = Reordering(4), Reordering(4)
    parts = streams(3)
    for part in parts:
        order.take(part[:20], NOW, 0.0)
    other.load(order.state(), 0.0)
    assert len(other) == len(order) > 0
    for part in parts:
        assert other.take(part[20:], NOW, 1.0) == order.take(part[20:], NOW, 1.0)
    assert Reordering(4).state()["waiting"].dtype == np.uint8
