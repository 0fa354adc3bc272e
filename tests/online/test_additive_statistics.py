"""The principle: additive statistics are at all times the sum over the histories that are kept."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.learner import Kind, Learner
from online.popularity import HALF_LIVES

WEIGHTS = {Kind.CLICK: 1.0, Kind.PURCHASE: 2.0, Kind.POSITIVE: 1.5, Kind.NEUTRAL: 1.0}


def by_the_formula(stream: Any) -> dict[tuple[str, ...], float]:
    """C, T, R and counts straight from the definition, in units of 1/1024."""
    found: dict[tuple[str, ...], float] = defaultdict(float)
    histories: dict[str, list[tuple[str, Kind]]] = defaultdict(list)
    for user, item, code in zip(stream.users, stream.items, stream.kinds, strict=True):
        kind, history = Kind(code), histories[user]
        disliked = {i for i, k in history if k is Kind.NEGATIVE}
        context = list(dict.fromkeys(i for i, _ in reversed(history) if i not in disliked))
        if kind is not Kind.NEGATIVE:
            found["count", item] += WEIGHTS[kind]
            for k, h in enumerate(context[:20]):
                value = round(512 * 0.8**k) * 2 * WEIGHTS[kind]
                if h != item:
                    found["C", h, item] += value
                    found["C", item, h] += value
                    found["T", h, item] += value * (k < 12)
                    found["out", h] += value * (k < 12)
        history.append((item, kind))
    return {key: value for key, value in found.items() if value}


def test_statistics_follow_their_formula(learner: Learner, stream: Any, statistics: Any) -> None:
    stream.learn(learner)
    assert statistics(learner) == by_the_formula(stream)


def test_fading_counts_follow_their_formula(learner: Learner, stream: Any) -> None:
    stream.learn(learner)
    p, slots = learner._shared.model.popularity, learner._shared.items
    ages = len(stream.users) - np.arange(len(stream.users))
    kept = stream.kinds != Kind.NEGATIVE
    weights = np.array([WEIGHTS.get(Kind(k), 0.0) for k in stream.kinds])
    for c, half_life in enumerate(HALF_LIVES):
        value = weights * 2.0 ** (-ages / half_life)
        for item in ("i0", "i75", "i149"):
            mine = kept & (np.array(stream.items) == item)
            at = slots.find(item)
            assert p.fading[c, at] / p.step[c] == pytest.approx(value[mine].sum())


def test_dense_rows_and_hashed_rows_hold_the_same(
    make_learner: Any, new_stream: Any, statistics: Any
) -> None:
    wide = new_stream(1_200, users=6, items=1_400, seed=5)  # the item arrays grow once
    narrow = new_stream(6_000, users=80, items=260, seed=6)  # rows become dense
    learner = make_learner()
    narrow.learn(learner)
    assert learner._shared.model.pairs.state[1] > 0
    wide.learn(learner, partition=1)
    expected: dict[tuple[str, ...], float] = defaultdict(float)
    for part in (by_the_formula(narrow), by_the_formula(wide)):
        for key, value in part.items():
            expected[key] += value
    assert statistics(learner) == expected


def test_a_dropped_partition_leaves_nothing_and_loads_exactly(
    learner: Learner, stream: Any, statistics: Any
) -> None:
    stream.learn(learner)
    before, state = statistics(learner), learner.partition_state(0)
    learner.drop_partition(0)
    assert statistics(learner) == {}
    assert learner.users == 0
    learner.load_partition(0, state)
    assert statistics(learner) == before
    again = learner.partition_state(0)
    assert all(np.array_equal(again[key], state[key]) for key in state)


def test_loading_twice_counts_once(learner: Learner, stream: Any, statistics: Any) -> None:
    stream.learn(learner)
    before = statistics(learner)
    learner.load_partition(0, learner.partition_state(0))
    assert statistics(learner) == before


def test_two_partitions_merge_into_the_whole(
    make_learner: Any, stream: Any, statistics: Any
) -> None:
    whole, left, right, merged = (make_learner() for _ in range(4))
    stream.learn(whole)
    mine = stream.of(*(f"u{n}" for n in range(0, 30, 2)))
    stream.where(mine).learn(left, partition=0)
    stream.where(~mine).learn(right, partition=1)
    merged.load_partition(0, left.partition_state(0))
    merged.load_partition(1, right.partition_state(1))
    assert statistics(merged) == statistics(whole)
    assert merged.events_learned() == whole.events_learned()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1_000), st.sets(st.integers(0, 11), min_size=1, max_size=11))
def test_forgotten_users_are_as_never_seen(
    make_learner: Any, new_stream: Any, statistics: Any, seed: int, leaving: set[int]
) -> None:
    stream = new_stream(250, users=12, items=60, seed=seed)
    forgetful, innocent = make_learner(max_history=24), make_learner(max_history=24)
    stream.learn(forgetful)
    gone = [f"u{n}" for n in leaving]
    stream.where(~stream.of(*gone)).learn(innocent)
    for user in gone:
        forgetful.forget_user(0, user)
    assert statistics(forgetful) == statistics(innocent)
    assert forgetful.events_learned() == 250  # learned once, if no longer kept


def test_a_forgotten_user_leaves_no_trace(learner: Learner, stream: Any) -> None:
    stream.learn(learner)
    learner.put_profile(0, "u3", ["secret topic"], True)
    learner.forget_user(0, "u3")
    state, shared = learner.partition_state(0), learner.shared_state()
    assert b"u3" not in state["users.bytes"].tobytes().replace(b"u30", b"")
    assert b"secret" not in state["interests.bytes"].tobytes()
    learner.put_profile(0, "someone", [], True)  # takes the place
    assert learner.top_k("someone").policy == "popular"
    assert learner.top_k("u3").policy == "popular"
    live = set(learner._partitions[0].hashes.tolist())
    assert set(shared["factors.recent_user"].tolist()) <= live


def test_a_long_history_is_cut_with_what_it_added(
    make_learner: Any, new_stream: Any, statistics: Any
) -> None:
    learner = make_learner(max_history=40)
    stream = new_stream(400, users=1)
    stream.learn(learner)
    state = learner.partition_state(0)
    kept = len(state["history.items"])
    assert kept <= 40
    assert learner.events_learned(0) == 400
    rebuilt = make_learner(max_history=40)
    rebuilt.load_partition(0, state)
    assert statistics(rebuilt) == statistics(learner)


@pytest.mark.parametrize("longest", [40, 200])
@pytest.mark.parametrize("items", [30, 400])
def test_long_histories_leave_what_is_left_of_them(
    make_learner: Any, new_stream: Any, statistics: Any, longest: int, items: int
) -> None:
    """Few distinct items, so that a context reaches far, and many; dislikes among all of them."""
    learner = make_learner(max_history=longest)
    new_stream(3_000, users=4, items=items).learn(learner)
    rebuilt = make_learner(max_history=longest)
    rebuilt.load_partition(0, learner.partition_state(0))
    assert statistics(rebuilt) == statistics(learner)


def test_a_history_of_dislikes_alone_is_cut_too(make_learner: Any, learn: Any) -> None:
    learner = make_learner(max_history=16)
    learn(learner, *(f"u i{n}" for n in range(100)), kind=Kind.NEGATIVE)
    assert learner.events_learned(0) == 100
    assert len(learner.partition_state(0)["history.items"]) <= 16
