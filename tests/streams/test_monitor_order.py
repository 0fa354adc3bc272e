"""Event time in order, whatever order the partitions come in; a live stream never waits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from online.spikes import Observation
from streams import monitor_order
from streams.monitor_order import Reordering, Waiting

NOW = 1_760_000_000.0


def comment(at: float, source: int = 0, offset: int = 0) -> Waiting:
    return Waiting(at, source, offset, "default", Observation("i", (), True, 1, at))


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
    order, out = Reordering(), []
    parts = streams(seed)
    everything = sorted(each for part in parts for each in part)
    for part in parts:  # each has been heard of, as after a first round of batches
        out += order.take([part.pop(0)], NOW, 0.0)
    while any(parts):
        part = chance.choice([part for part in parts if part])  # type: ignore[attr-defined]
        out += order.take([part.pop(0) for _ in range(min(batch, len(part)))], NOW, 1.0)
    out += order.release(1.0 + monitor_order.QUIET_SECONDS)
    late = [each for each in everything if each not in out]
    assert not late and len(order) == 0
    first = max(part[0].at for part in streams(seed))
    assert [e for e in out if e.at > first] == [e for e in everything if e.at > first]


def test_a_live_comment_passes_at_once() -> None:
    order = Reordering()
    order.take([comment(NOW - 7_200, source=0)], NOW, 0.0)
    live = comment(NOW - 5, source=1, offset=3)
    assert live in order.take([live], NOW, 0.1)


def test_a_silent_partition_holds_nobody_up_for_ever() -> None:
    order = Reordering()
    order.take([comment(NOW - 9_000, source=0)], NOW, 0.0)
    ahead = [comment(NOW - 8_000 + i, source=1, offset=i) for i in range(100)]
    assert len(order.take(ahead[:50], NOW, 1.0)) <= 1
    out = order.take(ahead[50:], NOW, 1.0 + monitor_order.IDLE_SECONDS)
    assert ahead[:99] == [each for each in out if each.source == 1]


def test_the_end_of_a_stream_lets_everything_go() -> None:
    order = Reordering()
    order.take([comment(NOW - 9_000, source=0)], NOW, 0.0)
    order.take([comment(NOW - 8_000 - i, source=1, offset=i) for i in range(9)], NOW, 0.0)
    assert order.release(monitor_order.QUIET_SECONDS / 2) == [] or len(order) > 0
    out = order.release(monitor_order.QUIET_SECONDS)
    assert out == sorted(out) and len(order) == 0


def test_what_waits_is_bounded() -> None:
    order = Reordering()
    order.take([comment(NOW - 90_000, source=0)], NOW, 0.0)
    many = [comment(NOW - 80_000 + i / 10, 1, i) for i in range(monitor_order.MOST_WAITING + 500)]
    out = order.take(many, NOW, 0.0)
    assert len(order) == monitor_order.MOST_WAITING
    assert [each for each in out if each.source == 1] == many[:500]


def test_what_waits_survives_in_the_checkpoint() -> None:
    order, other = Reordering(), Reordering()
    parts = streams(3)
    for part in parts:
        order.take(part[:20], NOW, 0.0)
    other.load(order.state(), 0.0)
    assert len(other) == len(order) > 0
    for part in parts:
        assert other.take(part[20:], NOW, 1.0) == order.take(part[20:], NOW, 1.0)
    assert Reordering().state()["waiting"].dtype == np.uint8
