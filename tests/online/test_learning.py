"""What holds of learning whatever the data: order, batches, seeds, nasty input."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.learner import MISS, Kind, Learner


def same_state(one: Learner, other: Learner) -> bool:
    """Bit for bit, all that a checkpoint holds."""
    states = [(one.shared_state(), other.shared_state())]
    states += [(one.partition_state(p), other.partition_state(p)) for p in (0, 1)]
    return all(
        a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a) for a, b in states
    )


def test_learning_one_at_a_time_equals_learning_many(make_learner: Any, stream: Any) -> None:
    one, many = make_learner(), make_learner()
    ranks, at_once = stream.learn(one, 1), stream.learn(many)
    np.testing.assert_array_equal(ranks.ranks, at_once.ranks)
    np.testing.assert_array_equal(ranks.popularity_ranks, at_once.popularity_ranks)
    assert same_state(one, many)
    for user in ("u0", "u7", "nobody"):
        a, b = one.top_k(user, 20), many.top_k(user, 20)
        assert a.items == b.items
        np.testing.assert_array_equal(a.scores, b.scores)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 90), min_size=3, max_size=8), users=st.integers(1, 12))
def test_any_cut_into_batches_learns_the_same(
    make_learner: Any, new_stream: Any, cuts: list[int], users: int
) -> None:
    stream = new_stream(200, users=users, items=90)
    whole, cut = make_learner(max_history=16), make_learner(max_history=16)
    stream.learn(whole)
    edges = [0, *(e for e in itertools.accumulate(cuts) if e < 200), 200]
    for a, b in itertools.pairwise(edges):
        cut.learn(0, stream.users[a:b], stream.items[a:b], stream.kinds[a:b], stream.times[a:b])
    assert same_state(whole, cut)


def test_a_seed_decides_everything(make_learner: Any, stream: Any) -> None:
    first, again, other = make_learner(seed=3), make_learner(seed=3), make_learner(seed=4)
    for learner in (first, again, other):
        stream.learn(learner, 64)
    assert same_state(first, again)
    assert not same_state(first, other)


def test_ranks_are_taken_before_learning(learner: Learner, learn: Any) -> None:
    ranks = learn(learner, "a x", "b x", "a x", "b y", "c y").ranks.tolist()
    assert ranks[0] == MISS  # nobody had seen x
    assert ranks[1] == 1  # the only item there is
    assert ranks[2] == 0  # a has it: not evaluated
    assert ranks[3] == MISS
    assert ranks[4] in {1, 2}


def test_ties_count_against_us(learner: Learner, learn: Any) -> None:
    learned = learn(learner, "a x", "b y", "c z", "d y")
    assert learned.popularity_ranks[3] == 3


def test_a_negative_comment_is_learned_but_not_ranked(learner: Learner, learn: Any) -> None:
    learn(learner, "a x", "b y")
    assert learn(learner, "b x", kind=Kind.NEGATIVE).ranks.tolist() == [0]
    assert learner.events_learned() == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e308, -1e308])
def test_nasty_times_leave_scores_finite(learner: Learner, stream: Any, bad: float) -> None:
    nasty = stream._replace(times=np.where(np.arange(len(stream.times)) % 3, stream.times, bad))
    nasty.learn(learner)
    assert np.isfinite(learner.top_k("u1").scores).all()
    assert np.isfinite(learner.partition_state(0)["users.last_active"]).all()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from(list(Kind))),
        min_size=1,
        max_size=60,
    )
)
def test_any_short_stream_keeps_lists_sound(make_learner: Any, events: list[Any]) -> None:
    learner = make_learner(max_history=8)
    users, items, kinds = zip(*events, strict=True)
    learned = learner.learn(0, users, items, np.array(kinds, np.int8), np.zeros(len(events)))
    assert ((learned.ranks >= 0) & ((learned.ranks <= 3) | (learned.ranks == MISS))).all()
    assert learner.events_learned(0) == len(events)
    for user in "abcd":
        top = learner.top_k(user)
        assert np.isfinite(top.scores).all()
        assert (np.diff(top.scores) <= 0).all()
        assert len(set(top.items)) == len(top.items)


def test_factors_that_diverged_spoil_nothing(learner: Learner, stream: Any) -> None:
    stream.learn(learner)
    state = learner.shared_state()
    state["factors.e_out"][::2] = np.nan
    state["factors.e_in"][::3] = np.inf
    learner.load_shared(state)
    top = learner.top_k("u1", 20)
    assert len(top.items) == 20
    assert np.isfinite(top.scores).all()


@pytest.mark.parametrize("kind", [-1, 5, 127])
def test_an_unknown_kind_is_refused(learner: Learner, kind: int) -> None:
    with pytest.raises(ValueError, match="kind"):
        learner.learn(0, ["u"], ["i"], np.array([kind], np.int8), np.zeros(1))
    assert learner.users == 0


def test_unequal_lengths_are_refused(learner: Learner) -> None:
    with pytest.raises(ValueError, match="length"):
        learner.learn(0, ["u", "v"], ["i"], np.zeros(1, np.int8), np.zeros(1))


def test_the_blend_beats_popularity_on_structured_streams(
    make_learner: Any, new_stream: Any
) -> None:
    learned = new_stream(4_000, users=60).learn(make_learner())
    half = slice(2_000, None)
    evaluated = learned.ranks[half] > 0
    hits = (learned.ranks[half][evaluated] <= 10).mean()
    popular = (learned.popularity_ranks[half][evaluated] <= 10).mean()
    assert hits > 3 * popular
