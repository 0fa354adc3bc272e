"""Pairs at their limit: memory stays, the weakest pairs go, and what is new always finds room."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from online import cooccurrence as co
from online.blocks import SIZE_CLASSES, has_block, release, take
from online.learner import Learner
from online.pair_rows import new_block, put
from online.pairs import DENSE, new_pairs
from online.reclaiming import halve, strongest

FULL = 1_000  # of max_pairs: the first blocks alone


def test_blocks_do_not_overlap_and_become_large_again() -> None:
    rng = np.random.default_rng(0)
    free, top = np.full(SIZE_CLASSES, -1, np.int64), np.zeros(1, np.int64)
    links = np.zeros(3 << 14, np.int32)
    held: dict[int, int] = {}
    owner = np.full(1 << 14, -1)
    for _ in range(4_000):
        c = int(rng.integers(3, 9))
        if rng.random() < 0.55 and has_block(free, top, 1 << 14, c):
            at = take(free, top, links, 3, c)
            assert at % (1 << c) == 0 and (owner[at : at + (1 << c)] == -1).all()
            owner[at : at + (1 << c)] = at
            links[at * 3] = -1  # as every block in use: no number below
            held[at] = c
        elif held:
            at = list(held)[rng.integers(len(held))]
            c = held.pop(at)
            owner[at : at + (1 << c)] = -1
            release(free, top, links, 3, at, c)
    assert top[0] > 1 << 13
    for at, c in held.items():
        release(free, top, links, 3, at, c)
    end, largest = int(top[0]), int(top[0]).bit_length() - 1
    assert has_block(free, top, end, largest)  # all that was cut is joined again
    assert take(free, top, links, 3, largest) == 0 and top[0] == end


def test_the_strongest_stay_and_half_of_the_weakest_goes() -> None:
    pairs = new_pairs(64)
    new_block(pairs, 5, 5)  # 32 entries
    for key in range(20):
        put(pairs, 5, key, 100 + key, key)
    halve(pairs, 5)
    row = np.zeros((2, 64), np.float32)
    co.add_row(pairs, 5, 64, 1.0, 1.0, row[0], row[1])
    assert np.flatnonzero(row[0]).tolist() == list(range(12, 20))
    assert row[0, 12:20].tolist() == [100 + key - 111 // 2 for key in range(12, 20)]
    assert row[1, 12:20].tolist() == list(range(12, 20))
    assert pairs.size[5] == 16 and pairs.used[5] == 8
    assert pairs.state[co.REFUSED] == 12


def test_a_short_row_loses_nothing_but_room() -> None:
    pairs = new_pairs(64)
    new_block(pairs, 5, 5)
    for key in range(8):
        put(pairs, 5, key, 7, 7)
    halve(pairs, 5)
    assert pairs.used[5] == 8 and pairs.size[5] == 16 and pairs.state[co.REFUSED] == 0


@pytest.mark.parametrize("keep", [0, 1, 5, 50, 99, 100, 200])
def test_no_more_than_wanted_stay(keep: int) -> None:
    values = np.random.default_rng(keep).integers(0, 40, 100).astype(np.int32)
    bound, ties = strongest(values, 0, 100, 1, keep)
    stay = np.count_nonzero(values > bound) + min(ties, np.count_nonzero(values == bound))
    assert stay == min(keep, np.count_nonzero(values))


def _full(make_learner: Any, new_stream: Any, **changes: Any) -> Learner:
    learner: Learner = make_learner(max_pairs=FULL, **changes)
    new_stream(12_000, users=40, items=900, seed=2).learn(learner)
    assert learner.left_out.pairs_refused > 0
    return learner


def _newcomers(learner: Learner, new_stream: Any, batch: int = 10_000) -> Any:
    """Users of another time with items of another time, the same number of both."""
    later = new_stream(6_000, users=40, items=500, seed=3)
    later = later._replace(
        users=[f"late-{user}" for user in later.users],
        items=[f"late-{item}" for item in later.items],
    )
    return later.learn(learner, batch)


def test_items_that_come_when_memory_is_full_get_their_pairs(
    make_learner: Any, new_stream: Any
) -> None:
    learner, roomy = _full(make_learner, new_stream), make_learner()
    new_stream(12_000, users=40, items=900, seed=2).learn(roomy)
    pairs = learner._shared.model.pairs
    before = pairs.cells.nbytes
    late, unbounded = _newcomers(learner, new_stream), _newcomers(roomy, new_stream)
    pairs, shared = learner._shared.model.pairs, learner._shared
    used = [pairs.used[shared.items.find(f"late-i{n}")] for n in range(500)]
    assert min(used) > 4 and np.median(used) > 12
    assert pairs.cells.nbytes == before
    hits, possible = ((of.ranks[3_000:] <= 10).mean() for of in (late, unbounded))
    assert hits > 0.9 * possible


def test_rows_share_what_there_is(make_learner: Any, new_stream: Any) -> None:
    learner = _full(make_learner, new_stream)
    _newcomers(learner, new_stream)
    size = learner._shared.model.pairs.size
    hashed = size[size > 0]
    assert hashed.max() <= 8 * np.median(hashed)


def test_with_full_memory_one_at_a_time_learns_the_same(
    make_learner: Any, new_stream: Any, statistics: Any
) -> None:
    one, many = _full(make_learner, new_stream), _full(make_learner, new_stream)
    _newcomers(one, new_stream, batch=1)
    _newcomers(many, new_stream, batch=700)
    assert statistics(one) == statistics(many)
    assert one.top_k("late-u3").items == many.top_k("late-u3").items


def test_leaders_are_those_of_the_row_that_is_left(make_learner: Any, new_stream: Any) -> None:
    learner = _full(make_learner, new_stream)
    model = learner._shared.model
    assert np.count_nonzero(model.pairs.lead != -1) > 0
    _newcomers(learner, new_stream)
    p = learner._shared.model.pairs
    for h in np.flatnonzero(p.lead >= 0).tolist():
        row = np.zeros((2, learner._shared.room), np.float32)
        co.add_row(p, h, learner._shared.room, 1.0, 1.0, row[0], row[1])
        best = p.leaders[p.lead[h] * co.LEADERS * co.WORDS :][: co.LEADERS * co.WORDS]
        keys, values = best[:: co.WORDS], best[1 :: co.WORDS]
        assert values[keys >= 0].tolist() == row[0][keys[keys >= 0]].tolist()
        assert values[0] == row[0].max()


def test_nothing_of_somebody_erased_stays_where_memory_is_full(
    make_learner: Any, new_stream: Any, statistics: Any
) -> None:
    """Counts and R are exact; of a pair there is never more than the others added."""
    learner, others = _full(make_learner, new_stream), make_learner()
    stream = new_stream(12_000, users=40, items=900, seed=2)
    learner.forget_user(0, "u7")
    stream.where(~stream.of("u7")).learn(others)
    left, whole = statistics(learner), statistics(others)
    assert all(value <= whole.get(key, 0.0) for key, value in left.items())
    exact = {key: value for key, value in whole.items() if key[0] in {"count", "out"}}
    assert {key: left.get(key) for key in exact} == exact


def test_a_wider_catalogue_does_not_make_more_memory_than_allowed(
    make_learner: Any, new_stream: Any
) -> None:
    """Rows that know much of the catalogue are vectors: twice as wide, all would be too much."""
    learner, most = make_learner(max_pairs=400_000, max_items=2_000), 400_000
    new_stream(30_000, users=400, items=600, seed=4).learn(learner)
    p = learner._shared.model.pairs
    assert np.count_nonzero(p.size == DENSE) > 200
    fullest = int(np.argmax(p.used))
    learner._shared.intern_many([f"new-{n}" for n in range(1_500)])
    p = learner._shared.model.pairs
    assert p.dense.shape[2] > 2_000
    hashed, vectors = p.size[p.size > 0].sum(), p.dense[: p.state[1]].size // co.WORDS
    assert hashed + vectors < most + (2_000 << co.LEAST_CLASS)
    assert p.used[fullest] > 50
    _newcomers(learner, new_stream)
    assert np.isfinite(learner.top_k("late-u1").scores).all()
