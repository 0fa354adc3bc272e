"""One suite for every component of the learner: what each must be, whatever it computes.

An adapter says how a component is read from a learner that went through a stream. Sessions have a
learner of their own and come last.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest

from online.content_items import ItemContent
from online.content_terms import terms_of
from online.cooccurrence import add_row
from online.learner import Learner
from online.sessions import SessionConfig, SessionLearner
from online.sessions_stream import SessionStreamBuilder

USERS = [f"u{n}" for n in range(30)]
Values = dict[str, np.ndarray]


class Component(NamedTuple):
    """A component and how it is read.

    Attributes:
        read: its state, or what it answers, in an order that does not depend on slots.
        additive: the sum over histories, exactly.
    """

    name: str
    read: Callable[[Learner], Values]
    additive: bool


def slots(learner: Learner) -> np.ndarray:
    """Slots of the items that have a count, in order of their ids."""
    shared = learner._shared
    counted = np.flatnonzero(shared.model.popularity.counts[: shared.items.size])
    return np.array(sorted(counted, key=shared.items.name), dtype=np.int64)


def popularity(learner: Learner) -> Values:
    return {"counts": learner._shared.model.popularity.counts[slots(learner)]}


def fading(learner: Learner) -> Values:
    p = learner._shared.model.popularity
    return {"shares": p.fading[:, slots(learner)] / (p.total[:, None] + 1e-9)}


def pair_rows(learner: Learner, which: int) -> np.ndarray:
    shared, at = learner._shared, slots(learner)
    rows = np.zeros((2, shared.room, shared.room), np.float32)
    for slot in at:
        add_row(shared.model.pairs, slot, shared.room, 1.0, 1.0, rows[0, slot], rows[1, slot])
    return rows[which][np.ix_(at, at)]


def recency(learner: Learner) -> Values:
    return {"C": pair_rows(learner, 0)}


def transitions(learner: Learner) -> Values:
    out = learner._shared.model.pairs.out[slots(learner)]
    return {"T": pair_rows(learner, 1), "R": out}


def embeddings(learner: Learner) -> Values:
    f, at = learner._shared.model.factors, slots(learner)
    return {"in": f.e_in[at], "out": f.e_out[at], "bias": f.bias[at], "attention": f.attention}


def content_start(learner: Learner) -> Values:
    """What the factors make of vectors, once the items have some."""
    names = [learner._shared.items.name(slot) for slot in slots(learner)]
    vectors = np.random.default_rng(5).normal(size=(150, 12)).astype(np.float32)
    said = [terms_of("", []) for _ in names]
    mine = vectors[[int(name[1:]) for name in names]]
    learner.put_content(ItemContent(names, said, mine))
    found = learner._shared.start.map
    return {"map": np.zeros(1) if found is None else found}


def blend(learner: Learner) -> Values:
    b = learner._shared.model.blend
    return {"weights": b.weights, "squared": b.squared}


def lists(learner: Learner) -> Values:
    return {user: learner.top_k(user, 20).scores for user in [*USERS, "nobody"]}


COMPONENTS = [
    Component("popularity", popularity, True),
    Component("fading-popularity", fading, False),
    Component("recency", recency, True),
    Component("transitions", transitions, True),
    Component("embeddings", embeddings, False),
    Component("content-start", content_start, False),
    Component("blend", blend, False),
    Component("candidates", lists, False),
]
every = pytest.mark.parametrize("component", COMPONENTS, ids=[c.name for c in COMPONENTS])
additive = pytest.mark.parametrize(
    "component", [c for c in COMPONENTS if c.additive], ids=lambda c: c.name
)


def assert_same(one: Values, two: Values, tolerance: float = 0.0) -> None:
    assert one.keys() == two.keys()
    for name in one:
        if tolerance:
            assert np.allclose(one[name], two[name], rtol=tolerance, atol=tolerance), name
        else:
            assert np.array_equal(one[name], two[name]), name


@every
def test_learning_one_by_one_is_learning_many(
    component: Component, make_learner: Any, new_stream: Any
) -> None:
    stream = new_stream(500)
    one, many = make_learner(), make_learner()
    stream.learn(one, batch=1)
    stream.learn(many)
    assert_same(component.read(one), component.read(many))


@every
def test_a_checkpoint_gives_it_back(
    component: Component, make_learner: Any, new_stream: Any
) -> None:
    before, after = make_learner(), make_learner()
    new_stream(800).learn(before)
    after.load_shared(before.shared_state())
    after.load_partition(0, before.partition_state(0))
    exact = component.additive or component.name in ("embeddings", "blend")
    assert_same(component.read(before), component.read(after), 0.0 if exact else 2e-2)


@additive
def test_two_halves_make_the_whole(
    component: Component, make_learner: Any, new_stream: Any
) -> None:
    stream = new_stream(800)
    mine = stream.of(*USERS[::2])
    left, right, merged, whole = (make_learner() for _ in range(4))
    stream.learn(whole)
    stream.where(mine).learn(left, partition=0)
    stream.where(~mine).learn(right, partition=1)
    merged.load_partition(0, left.partition_state(0))
    merged.load_partition(1, right.partition_state(1))
    assert_same(component.read(whole), component.read(merged))


@additive
def test_a_forgotten_user_was_never_there(
    component: Component, make_learner: Any, new_stream: Any
) -> None:
    stream = new_stream(800)
    forgetful, innocent = make_learner(), make_learner()
    stream.learn(forgetful)
    stream.where(~stream.of(*USERS[:7])).learn(innocent)
    for user in USERS[:7]:
        forgetful.forget_user(0, user)
    assert_same(component.read(forgetful), component.read(innocent))


@every
def test_everything_is_finite(component: Component, make_learner: Any, new_stream: Any) -> None:
    for events in (0, 1, 900):
        learner = make_learner()
        if events:
            new_stream(events).learn(learner)
        assert all(np.isfinite(value).all() for value in component.read(learner).values())


@every
def test_a_seed_gives_the_same_again(
    component: Component, make_learner: Any, new_stream: Any
) -> None:
    read = []
    for seed in (7, 7, 8):
        learner = make_learner(seed=seed)
        new_stream(500).learn(learner)
        read.append(component.read(learner))
    assert_same(read[0], read[1])
    if component.additive:  # chance has no part in it
        assert_same(read[0], read[2])
    if component.name == "embeddings":
        assert not np.array_equal(read[0]["in"], read[2]["in"])


def sessions(seed: int, blocks: int) -> SessionLearner:
    """A session learner that went through 60 sessions in so many blocks."""
    chance, builder = np.random.default_rng(0), SessionStreamBuilder()
    for number in range(60):
        for _ in range(int(chance.integers(2, 7))):
            builder.add(0, f"s{number}", f"i{chance.integers(25)}")
    stream = builder.build()
    learner = SessionLearner(stream, SessionConfig(factors=16, negatives=8, seed=seed))
    edges = np.linspace(0, len(stream), blocks + 1).astype(int).tolist()
    for begin, end in pairwise(edges):
        learner.learn(begin, end)
    return learner


def test_sessions_learned_in_blocks_have_the_same_postings() -> None:
    assert_same(sessions(0, 1)._index._asdict(), sessions(0, 17)._index._asdict())


def test_sessions_are_finite_and_the_same_under_a_seed() -> None:
    one, again, other = (sessions(seed, 3)._factors for seed in (7, 7, 8))
    assert np.isfinite(one.e).all()
    assert np.array_equal(one.e, again.e) and not np.array_equal(one.e, other.e)
