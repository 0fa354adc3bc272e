"""A table of items that is nearly full is filled to three quarters where states are loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from online import crowding
from online.crowding import Newest
from online.learner import Kind, Learner

MOST = 40  # items
FULL = crowding.FULL


@pytest.fixture(autouse=True)
def _a_table_is_small_and_an_hour_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowding, "FULL", 0.9)
    monkeypatch.setattr(crowding, "LATELY", 5)


def _seasons(learner: Learner, learn: Any, *seasons: str) -> None:
    """In every season 19 items that others lack, taken by its own users and one who stays."""
    for season in seasons:
        for n in range(19):
            learn(learner, f"{season}-u{n % 5} {season}-{n}", f"always {season}-{n}")


def _again(learner: Learner, newest: bool = True) -> Learner:
    """What the worker does at its start: the items first, then partitions, then the factors."""
    again, state = Learner(learner.config), learner.partition_state(0)
    if newest:
        found = Newest()
        found.add(state)
        again.crowding.choose(found)
    again.load_partition(0, state)
    again.load_shared(learner.shared_state())
    return again


def test_a_table_with_some_room_to_spare_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, make_learner: Any, learn: Any
) -> None:
    monkeypatch.setattr(crowding, "FULL", FULL)
    learner = make_learner(max_items=100)
    _seasons(learner, learn, "spring", "summer", "autumn", "winter", "holidays")
    assert learner.items == 95
    again = _again(learner, newest=False)
    assert again.items == 95 and not again.crowding.dropped


def test_those_taken_longest_ago_stay_away_and_new_ones_are_welcome(
    make_learner: Any, learn: Any
) -> None:
    learner = make_learner(max_items=MOST)
    _seasons(learner, learn, "spring", "summer", "autumn")
    assert learner.items == MOST
    assert learner.left_out.items_refused > 0
    again = _again(learner)
    assert again.items == MOST * 3 // 4
    names = set(again._shared.items._slots)
    assert {"autumn-0", "autumn-1"} <= names and "spring-0" not in names
    assert again.left_out.items_dropped == MOST - MOST * 3 // 4
    assert again.events_learned() == learner.events_learned()
    _seasons(again, learn, "winter")
    assert again.has("always", "winter-5")
    assert again.items <= MOST


def test_no_list_names_an_item_that_stayed_away(make_learner: Any, learn: Any) -> None:
    learner = make_learner(max_items=MOST)
    _seasons(learner, learn, "spring", "summer")
    again = _again(learner)
    held = set(again._shared.items._slots)
    _seasons(again, learn, "winter")
    for user in ("spring-u1", "summer-u1", "winter-u1", "nobody"):
        assert set(again.top_k(user).items) <= held | {f"winter-{n}" for n in range(19)}
    assert not again.has("always", "spring-0")


def test_the_statistics_are_the_sum_over_what_is_left(
    make_learner: Any, learn: Any, statistics: Any
) -> None:
    learner, other = make_learner(max_items=MOST), make_learner()
    _seasons(learner, learn, "spring", "summer")
    again = _again(learner)
    held = again._shared.items
    for season in ("spring", "summer"):  # as if the others had never been there
        for n in range(19):
            if held.find(f"{season}-{n}") >= 0:
                learn(other, f"{season}-u{n % 5} {season}-{n}", f"always {season}-{n}")
    assert statistics(again) == statistics(other)
    again.forget_user(0, "always")
    other.forget_user(0, "always")
    assert statistics(again) == statistics(other)


def test_factors_of_those_that_stay_are_kept(make_learner: Any, learn: Any) -> None:
    learner = make_learner(max_items=MOST)
    _seasons(learner, learn, "spring", "summer")
    again = _again(learner)
    one, two = learner._shared, again._shared
    kept = [name for name in one.items._slots if two.items.find(name) >= 0]
    before = one.model.factors.e_out[[one.items.find(name) for name in kept]]
    after = two.model.factors.e_out[[two.items.find(name) for name in kept]]
    assert np.array_equal(before, after)


def test_a_table_with_room_stays_as_it_is(make_learner: Any, learn: Any) -> None:
    learner = make_learner(max_items=50)
    _seasons(learner, learn, "spring", "summer")
    again = _again(learner, newest=False)
    assert again.items == learner.items == 38
    assert again.left_out.items_dropped == 0
    assert again.top_k("always").items == learner.top_k("always").items


def test_a_partition_taken_over_brings_none_that_was_dropped(make_learner: Any, learn: Any) -> None:
    """Of a colleague who has not been started anew and still holds them."""
    learner = make_learner(max_items=MOST)
    _seasons(learner, learn, "spring", "summer")
    again = _again(learner)
    again.load_partition(1, learner.partition_state(0))
    assert again.items == MOST * 3 // 4


def test_what_was_taken_lately_comes_in_any_case(make_learner: Any, learn: Any) -> None:
    here, there = make_learner(max_items=MOST), make_learner(max_items=MOST)
    _seasons(here, learn, "spring", "summer")
    learn(there, "u old", *(f"v idle-{n}" for n in range(4)), "u fresh", "v fresh")
    here.load_partition(1, there.partition_state(0))
    assert here.has("v", "fresh")
    assert not here.has("u", "old")


def test_what_is_not_to_be_had_takes_no_room_in_a_crowded_table(
    make_learner: Any, learn: Any
) -> None:
    learner = make_learner(max_items=MOST)
    _seasons(learner, learn, "spring", "summer")
    items = learner.items
    learner.put_item("sold out", ["art"], available=False)
    assert learner.items == items
    learn(learner, "u spring-1", "u sold out".replace(" out", "-out"))
    learner.put_item("sold out", ["art"], available=True)
    assert learner._shared.items.find("sold out") >= 0


def test_somebody_takes_what_was_withdrawn_unseen(make_learner: Any, learn: Any) -> None:
    learner = make_learner(max_items=MOST)
    _seasons(learner, learn, "spring", "summer")
    learner.put_item("gone", ["art"], available=False)
    learner.learn(0, ["u"], ["gone"], np.array([Kind.CLICK], np.int8), np.zeros(1))
    assert "gone" not in learner.popular(50).items
    assert learner.has("u", "gone")


def test_what_came_back_meanwhile_brings_no_past_into_a_partition_taken_over(
    make_learner: Any, learn: Any, statistics: Any
) -> None:
    """The statistics hold the partition as it was read at the start, without these items."""
    learner = make_learner(max_items=MOST)
    learner.share(lambda partition: 1)
    _seasons(learner, learn, "spring", "summer")
    again, state, newest = Learner(learner.config), learner.partition_state(0), Newest()
    exchange = again.share(lambda partition: 2)
    newest.add(state)
    again.crowding.choose(newest)
    exchange.loaded(0, 1, again.load_others(state))
    assert "spring-0" in again.crowding.dropped
    for item in again.crowding.dropped:
        again.put_item(item, ["art"], available=True)
    again.load_partition(0, state)
    assert again.events_learned() == learner.events_learned()
    assert not again.has("always", "spring-0")
    _holds_what_its_histories_say(again, statistics)
    learn(again, "always spring-0", "late spring-0", "late summer-1")
    again.load_partition(0, again.partition_state(0))  # moved away, and back
    assert again.has("always", "spring-0")
    _holds_what_its_histories_say(again, statistics)


def _holds_what_its_histories_say(learner: Learner, statistics: Any) -> None:
    held, shared = statistics(learner), learner._shared
    shared.clear_statistics()
    for part in learner._partitions.values():
        shared.replay(part.histories, np.arange(part.users.size, dtype=np.int64), 1)
    assert statistics(learner) == held
