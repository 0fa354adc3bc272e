"""Incremental = rebuilt: replayed in the recorded order everything is the same, bit for bit; in any
order that keeps each user's own, the counts and the pair statistics are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def reordered(stream: Any, order: Any) -> Any:
    at = np.asarray(order)
    return type(stream)(
        [stream.users[i] for i in at], [stream.items[i] for i in at],
        stream.kinds[at], stream.times[at],
    )  # fmt: skip


def interleaved(stream: Any, seed: int) -> Any:
    """Another order of the same events that keeps each user's own."""
    chance = np.random.default_rng(seed)
    users = np.array(stream.users)
    turns = chance.permutation(users)
    waiting = {user: iter(np.flatnonzero(users == user)) for user in set(stream.users)}
    return reordered(stream, [next(waiting[user]) for user in turns])


def recorded(stream: Any, seed: int) -> Any:
    """The merge order (occurred_at, topic, partition, offset), whatever order events arrived in."""
    place = np.random.default_rng(5)
    n = len(stream.users)
    topic, partition, offset = place.integers(3, size=n), place.integers(4, size=n), np.arange(n)
    times = stream.times // 5 * 5  # a clock of 5 s: the rest of the key decides
    at = np.random.default_rng(seed).permutation(n)  # as they arrived
    return reordered(stream, at[np.lexsort((offset[at], partition[at], topic[at], times[at]))])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_any_interleaving_gives_the_same_counts_and_pairs(
    make_learner: Any, new_stream: Any, statistics: Any, seed: int, other: int
) -> None:
    stream = new_stream(300, users=9, items=50, seed=seed)
    one, two = (make_learner(max_history=24, scan_up_to=0) for _ in range(2))
    stream.learn(one)
    interleaved(stream, other).learn(two)
    assert statistics(one) == statistics(two)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_partitions_may_be_learned_in_any_order(
    make_learner: Any, new_stream: Any, statistics: Any, seed: int, batch: int
) -> None:
    stream = new_stream(240, users=8, items=50, seed=seed)
    one, two = make_learner(), make_learner()
    owner = np.array([int(user[1:]) % 4 for user in stream.users])
    for partition in range(4):
        stream.where(owner == partition).learn(one, partition=partition)
    for start in range(0, 240, batch):
        window = np.arange(240) // batch == start // batch
        for partition in (3, 1, 0, 2):
            some = stream.where(window & (owner == partition))
            if some.users:
                some.learn(two, partition=partition)
    assert statistics(one) == statistics(two)


@pytest.mark.parametrize("scan_up_to", [0, 64, 100_000])  # candidates; they begin on the way; none
def test_the_recorded_order_gives_the_same_state_and_lists_bit_for_bit(
    make_learner: Any, new_stream: Any, scan_up_to: int
) -> None:
    stream = new_stream(1_200, users=25, items=120, seed=3)
    first, second = (make_learner(scan_up_to=scan_up_to) for _ in range(2))
    a = recorded(stream, seed=1).learn(first, batch=64)
    b = recorded(stream, seed=2).learn(second, batch=7)
    assert np.array_equal(a.ranks, b.ranks)
    for left, right in (
        (first.shared_state(), second.shared_state()),
        (first.partition_state(0), second.partition_state(0)),
    ):
        assert left.keys() == right.keys()
        assert all(left[name].tobytes() == right[name].tobytes() for name in left)
    for user in {*stream.users, "nobody"}:
        x, y = first.top_k(user), second.top_k(user)
        assert x.items == y.items and x.scores.tobytes() == y.scores.tobytes()
