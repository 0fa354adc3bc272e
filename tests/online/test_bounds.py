"""Memory is bounded: users, items, histories and pairs have limits that hold and are counted."""

from __future__ import annotations

from typing import Any

import numpy as np

from online.contribution import Contribution
from online.cooccurrence import FULL
from online.learner import MISS, Learner
from online.steps import finish


def test_who_was_silent_longest_goes_first(make_learner: Any, learn: Any, statistics: Any) -> None:
    learner, other = make_learner(max_users=3), make_learner()
    learn(learner, "old x", "mid y", "new z", "old y", "latest x")
    learn(other, "new z", "old x", "old y", "latest x")
    assert learner.users == 3
    assert learner.users_dropped == 1
    assert learner.top_k("mid").policy == "popular"
    assert learner.top_k("old").policy == "blend"
    assert statistics(learner) == statistics(other)
    assert learner.events_learned() == 5


def test_users_stay_within_the_limit(make_learner: Any, new_stream: Any) -> None:
    learner = make_learner(max_users=10)
    stream = new_stream(1_000, users=60)
    for partition in (0, 1):
        stream.where(stream.of(*(f"u{n}" for n in range(partition, 60, 2)))).learn(
            learner, 100, partition
        )
        assert learner.users <= 10
    assert learner.events_learned() == 1_000
    assert np.isfinite(learner.top_k("u1").scores).all()


def test_who_opted_out_is_not_forgotten_while_others_can_be(make_learner: Any, learn: Any) -> None:
    learner = make_learner(max_users=3)
    for user in ("shy", "shyer"):  # nothing of theirs is learned any more: they look silent
        learner.put_profile(0, user, [], personalise=False)
    learn(learner, "a x", "b y", "c z", "d x")
    assert learner.users == 3
    assert learner.personalised(0, ["shy", "shyer", "d"]) == [False, False, True]
    learner.put_profile(0, "shyest", [], personalise=False)
    learner.put_profile(0, "one too many", [], personalise=False)
    assert learner.users == 3


def test_profiles_count_as_users(make_learner: Any) -> None:
    learner = make_learner(max_users=4)
    for n in range(20):
        learner.put_profile(0, f"u{n}", ["art"], personalise=True)
    assert learner.users == 4
    assert len(learner._partitions[0].interest_sets) == 1


def test_items_beyond_the_limit_are_refused_and_counted(make_learner: Any, learn: Any) -> None:
    learner = make_learner(max_items=3)
    learned = learn(learner, "u a", "u b", "u c", "u d", "v d", "v a")
    assert learner.items == 3
    assert learner.left_out.items_refused == 2
    assert learned.ranks.tolist()[3:5] == [MISS, MISS]
    assert learner.events_learned() == 6
    learner.put_item("e", ["art"], available=True)
    assert learner.items == 3
    assert set(learner.top_k("v").items) == {"b", "c"}


def test_a_state_with_more_items_than_allowed_loads_without_them(
    make_learner: Any, learn: Any
) -> None:
    large, little = make_learner(), make_learner(max_items=2)
    learn(large, "u c", "u a", "u b", "v a")
    little.load_partition(0, large.partition_state(0))
    little.load_shared(large.shared_state())
    assert little.items == 2
    assert little.events_learned() == 4
    assert little.top_k("v").items == ["b"]


def test_pairs_beyond_the_limit_go_and_are_counted(
    make_learner: Any, new_stream: Any, statistics: Any
) -> None:
    learner = make_learner(max_pairs=1_000)
    stream = new_stream(12_000, users=40, items=900, seed=2)
    learned = stream.learn(learner)
    assert learner.left_out.pairs_refused > 0
    pairs = learner._shared.model.pairs
    assert pairs.cells.nbytes + pairs.dense.nbytes < 2_000_000  # the first blocks alone
    assert (learned.ranks[6_000:] <= 10).mean() > (learned.popularity_ranks[6_000:] <= 10).mean()
    learner.drop_partition(0)  # takes out what was refused, too
    assert statistics(learner) == {}


def test_a_pair_that_is_full_stays_full(learner: Learner, learn: Any, statistics: Any) -> None:
    learn(learner, "u a", "u b")
    shared, most = learner._shared, np.array([1_500_000_000], np.int32)
    a, b = (np.array([shared.items.find(name)], np.int32) for name in "ab")
    nobody = np.zeros(shared.room, np.int64), np.zeros((5, shared.room))
    many = Contribution(a, np.array([1]), b, most, most, *nobody, np.zeros(1, np.int64))
    for _ in range(3):  # users' histories, portion by portion
        finish(shared.adding(many, 1))
    assert FULL <= statistics(learner)["C", "a", "b"] < 2**31
    assert FULL <= statistics(learner)["T", "a", "b"] < 2**31


def test_many_interest_sets_leave_no_rest(learner: Learner) -> None:
    for n in range(500):
        learner.put_profile(0, "undecided", [f"topic-{n}", "art"], personalise=True)
    sets = learner._partitions[0].interest_sets
    assert len(sets) == 1
    assert sets.size <= 2
