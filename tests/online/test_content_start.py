"""The first factors of a new item: from what it says, where enough is known; else by chance."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pytest

from online import content_start
from online.content_items import ItemContent
from online.content_terms import terms_of
from online.learner import Learner
from online.warm_start import ItemFactors

D, ITEMS, THEMES = 24, 240, 6
CENTRES = np.random.default_rng(99).normal(size=(THEMES, D))


def said(items: list[str], embedded: bool = True) -> ItemContent:
    """Items that say of which theme they are: i7 is of theme 7 % THEMES."""
    rng = np.random.default_rng(1)
    themes = np.array([int(item[1:]) % THEMES for item in items])
    vectors = (CENTRES[themes] + 0.5 * rng.normal(size=(len(items), D))).astype(np.float32)
    terms = [terms_of(f"about {theme}", []) for theme in themes.tolist()]
    return ItemContent(items, terms, vectors if embedded else None)


def taught(learner: Learner, embedded: bool = True, events: int = 6_000) -> Learner:
    """Users who stay with one theme have taken all the items."""
    learner.put_content(said([f"i{n}" for n in range(ITEMS)], embedded))
    rng = np.random.default_rng(0)
    users = rng.integers(60, size=events)
    taken = rng.integers(ITEMS // THEMES, size=events) * THEMES + users % THEMES
    learner.learn(
        0, [f"u{u}" for u in users], [f"i{i}" for i in taken], np.zeros(events, np.int8),
        np.zeros(events),
    )  # fmt: skip
    return learner


def rows(learner: Learner, *items: str) -> np.ndarray:
    """[e_in, e_out] of items, float32[n, 2, d]."""
    slots, f = [learner._shared.items.find(item) for item in items], learner._shared.model.factors
    return np.stack([f.e_in[slots], f.e_out[slots]], axis=1)


def test_a_new_item_starts_among_those_that_say_the_like(make_learner: Any) -> None:
    learner = taught(make_learner())
    new = [f"i{n}" for n in range(1_000, 1_060)]
    learner.put_content(said(new))
    mine = rows(learner, *new)
    known = rows(learner, *(f"i{n}" for n in range(ITEMS)))
    themes = np.arange(ITEMS) % THEMES
    for side in (0, 1):
        means = np.stack([known[themes == t, side].mean(axis=0) for t in range(THEMES)])
        means -= means.mean(axis=0)
        start = mine[:, side] - mine[:, side].mean(axis=0)
        right = np.argmax(start @ means.T, axis=1) == np.array([int(i[1:]) % THEMES for i in new])
        assert right.mean() > 0.9
        length = np.linalg.norm(known[:, side], axis=1), np.linalg.norm(mine[:, side], axis=1)
        assert length[1].mean() == pytest.approx(length[0].mean(), rel=0.2)


def test_what_interactions_or_a_warm_start_moved_stays(make_learner: Any, learn: Any) -> None:
    learner = taught(make_learner())
    learner.put_content(said(["i1000", "i1001", "i1002"]))
    learn(learner, "u0 i1000", "u0 i5")
    given = np.full((1, 16), 0.5, np.float32)
    learner.warm_start(ItemFactors(["i1001"], given, np.zeros(1, np.float32)))
    before = rows(learner, "i1000", "i1001", "i1002")
    learner._shared.start.forget()  # so that a new map is made
    learner._shared.model.factors.e_in[:ITEMS] *= -1
    learner.put_content(said(["i1003"]))
    after = rows(learner, "i1000", "i1001", "i1002")
    np.testing.assert_array_equal(after[:2], before[:2])
    assert not np.array_equal(after[2], before[2])


def test_without_embeddings_chance_starts_them_as_ever(make_learner: Any) -> None:
    plain, none = make_learner(), taught(make_learner(), embedded=False)
    none.put_content(said(["i1000"], embedded=False))
    taught(plain, embedded=False)._shared.intern("i1000")
    assert none._shared.start.map is None
    np.testing.assert_array_equal(rows(none, "i1000"), rows(plain, "i1000"))


def test_few_known_items_make_no_map(make_learner: Any) -> None:
    learner = taught(make_learner(), events=150)
    learner.put_content(said(["i1000"]))
    assert learner._shared.start.map is None


def test_a_restored_learner_starts_items_as_the_one_before(make_learner: Any) -> None:
    before, again = taught(make_learner()), make_learner()
    again.load_shared(before.shared_state())
    again.load_partition(0, before.partition_state(0))
    again.put_content(said([f"i{n}" for n in range(ITEMS)]))
    for learner in (before, again):
        learner.put_content(said(["i1000"]))
    np.testing.assert_allclose(rows(again, "i1000"), rows(before, "i1000"), atol=2e-2)


def test_nothing_is_left_of_a_map_when_embeddings_begin_anew(make_learner: Any) -> None:
    learner = taught(make_learner())
    learner.put_content(said(["i1000"]))
    learned = learner._shared.start.map
    nothing = ItemFactors([], np.zeros((0, 16), np.float32), np.zeros(0, np.float32), "first")
    learner.warm_start(nothing)
    assert learned is not None and learner._shared.start.map is None
    first = make_learner()
    first._shared.intern_many([f"i{n}" for n in [*range(ITEMS), 1_000]])
    np.testing.assert_array_equal(rows(learner, "i1000"), rows(first, "i1000"))


def test_other_workers_hear_of_movements_and_not_of_starts(make_learner: Any, learn: Any) -> None:
    learner = make_learner()
    exchange = learner.share(lambda partition: 1).factors
    exchange.set_workers(2)
    taught(learner)
    exchange.cut()
    learner.put_content(said(["i1000"]))
    start = rows(learner, "i1000")[0]
    assert learner._shared.start.map is not None
    learn(learner, "u0 i1000", "u0 i6")
    (delta,) = exchange.cut()
    at = delta.slots.tolist().index(learner._shared.items.find("i1000"))
    moved = rows(learner, "i1000")[0] - start
    np.testing.assert_allclose(delta.matrices[:, at], moved, atol=1e-3)
    assert np.abs(moved).max() > 1e-3


def test_sums_over_portions_are_the_sums_over_all() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 9)).astype(np.float32)
    y = rng.normal(size=(300, 2, 4)).astype(np.float32)
    parts = [content_start.summed(x[a : a + 70], y[a : a + 70]) for a in range(0, 300, 70)]
    whole, merged = content_start.summed(x, y), reduce(content_start.added, parts)
    for one, other in zip(whole, merged, strict=True):
        np.testing.assert_allclose(one, other)
    solved = content_start.solved(whole)
    np.testing.assert_allclose(solved, content_start.solved(merged), rtol=1e-4)
    starts = np.tensordot(x, solved, (1, 0))
    np.testing.assert_allclose(
        np.square(starts).sum(axis=(0, 2)), np.square(y).sum(axis=(0, 2)), rtol=1e-3
    )
