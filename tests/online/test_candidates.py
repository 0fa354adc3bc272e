"""Candidates from posting lists: the same lists as a scan of all items, nearly always."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from online.config import COMPONENTS, STATISTICS, LearnerConfig
from online.leaders import find_leaders
from online.pairs import DENSE, LEADERS, NO_LEADERS, WORDS
from online.pool import LONGEST
from online.popularity import COUNT, DAMP, LISTED, new_popularity, pass_ticks, settle


def gain(ranks: np.ndarray) -> float:
    """NDCG@10 of the ranked ones."""
    shown = ranks[(ranks > 0) & (ranks <= 10)]
    return float((1 / np.log2(shown + 1.0)).sum() / np.count_nonzero(ranks))


def test_candidates_keep_the_quality_of_the_scan(make_learner: Any, new_stream: Any) -> None:
    stream = new_stream(20_000, users=200, items=2_000)
    scan = gain(stream.learn(make_learner(scan_up_to=100_000)).ranks[10_000:])
    candidates = gain(stream.learn(make_learner(scan_up_to=0)).ranks[10_000:])
    assert scan > 0.1
    assert candidates >= 0.99 * scan


def test_lists_of_candidates_agree_with_the_scan(
    make_learner: Any, new_stream: Any, agreement: Any
) -> None:
    stream = new_stream(6_000, users=100, items=400)
    learner = make_learner(scan_up_to=100_000)
    stream.learn(learner)
    assert agreement(learner, users=100) >= 0.97


def test_one_at_a_time_equals_many_with_candidates(make_learner: Any, stream: Any) -> None:
    one, many = make_learner(scan_up_to=0), make_learner(scan_up_to=0)
    ranks, at_once = stream.learn(one, 1).ranks, stream.learn(many).ranks
    np.testing.assert_array_equal(ranks, at_once)
    for user in ("u0", "u7", "nobody"):
        assert one.top_k(user, 20).items == many.top_k(user, 20).items


def test_making_lists_changes_nothing_that_is_learned(make_learner: Any, new_stream: Any) -> None:
    stream = new_stream(3_000, users=20, items=300)
    quiet, asked = make_learner(scan_up_to=0), make_learner(scan_up_to=0)
    ranks = []
    for start in range(0, 3_000, 100):
        part = stream.where(np.arange(3_000) // 100 == start // 100)
        ranks.append((part.learn(quiet).ranks, part.learn(asked).ranks))
        for u in range(5):
            asked.top_k(f"u{u}")
    for one, other in ranks:
        np.testing.assert_array_equal(one, other)


def test_the_leaders_are_the_heaviest_pairs_of_a_row(make_learner: Any, new_stream: Any) -> None:
    learner = make_learner()
    new_stream(20_000, users=60, items=900, seed=3).learn(learner)
    learner.forget_user(0, "u3")  # makes them anew
    pairs = learner._shared.model.pairs
    checked = 0
    for h in range(len(pairs.lead)):
        block = find_leaders(pairs, h)
        if block < 0:
            continue
        start, size = pairs.start[h], pairs.size[h]
        if size == DENSE:
            cells = np.column_stack([np.arange(pairs.dense.shape[2]), *pairs.dense[start]])
        else:
            cells = pairs.cells[start * WORDS :][: size * WORDS].reshape(-1, WORDS)
        cells = cells[(cells[:, 0] >= 0) & (cells[:, 1] > 0)]
        best = cells[np.lexsort((cells[:, 0], -cells[:, 1]))][:LEADERS]
        first = block * LEADERS * WORDS
        kept = pairs.leaders[first : first + LEADERS * WORDS].reshape(-1, WORDS)
        np.testing.assert_array_equal(kept[: len(best)], best)
        checked += 1
    assert checked > 50


def test_the_popular_ones_are_in_order(make_learner: Any, new_stream: Any) -> None:
    learner = make_learner()
    new_stream(8_000, users=60, items=900, seed=3).learn(learner)
    p = learner._shared.model.popularity
    for leaders, values in zip(p.leaders, (*p.fading, p.counts), strict=True):
        np.testing.assert_array_equal(values[leaders], np.sort(values)[::-1][: len(leaders)])


def test_statistics_alone_learn_no_factors_and_rank_nothing(
    make_learner: Any, stream: Any, statistics: Any
) -> None:
    whole, lean = make_learner(), make_learner(components=STATISTICS)
    stream.learn(whole)
    learned = stream.learn(lean)
    assert statistics(lean) == statistics(whole)
    assert not learned.ranks.any()
    assert lean._shared.model.factors.pushed[0] == 0
    assert len(lean.top_k("u1", 10).items) == 10


@pytest.mark.parametrize("components", [("factors",), (*COMPONENTS, "magic")])
def test_unknown_components_are_refused(components: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="components"):
        LearnerConfig(components=components)


@pytest.mark.parametrize("taken", [0, 50, 900])
def test_settling_finds_the_same_leaders_as_a_full_sort(taken: int) -> None:
    p = new_popularity(1_024)
    rng = np.random.default_rng(taken)
    p.counts[:taken] = rng.integers(1, 6, taken)  # many ties
    p.fading[:, :taken] = rng.integers(0, 40, (5, taken))
    settle(p)
    for leaders, values in zip(p.leaders, (*p.fading, p.counts), strict=True):
        best = np.argsort(-values, kind="stable")[:LISTED]
        best = best[values[best] > 0]
        assert leaders.tolist() == [*best.tolist(), *[-1] * (LISTED - len(best))]
    assert p.total.tolist() == p.fading.sum(axis=1).tolist()


def test_cards_say_what_the_counts_say(make_learner: Any, new_stream: Any) -> None:
    learner = make_learner(scan_up_to=0)
    new_stream(3_000, users=30, items=1_500).learn(learner)  # grown, and inflated anew
    learner.forget_user(0, "u3")
    learner.load_partition(1, make_learner(scan_up_to=0).partition_state(0))
    pass_ticks(learner._shared.model.popularity, 50)
    p = learner._shared.model.popularity
    assert p.counts.any()
    np.testing.assert_array_equal(p.cards[:, :COUNT], p.fading.T)
    np.testing.assert_array_equal(p.cards[:, COUNT], p.counts)
    known = p.counts > 0
    np.testing.assert_array_equal(p.cards[known, DAMP], p.damp[known])


def test_a_row_without_leaders_is_read_whole(make_learner: Any, new_stream: Any) -> None:
    learner = make_learner(scan_up_to=0)
    new_stream(20_000, users=300, items=3_000).learn(learner)
    for user in range(0, 300, 2):
        learner.forget_user(0, f"u{user}")
    p = learner._shared.model.pairs
    short = p.lead == NO_LEADERS
    assert (p.size > LONGEST).any() or (p.size == DENSE).any()
    assert p.size[short].min() >= 0 and p.size[short].max() <= LONGEST


def test_what_may_not_be_listed_takes_nobodys_place(
    make_learner: Any, new_stream: Any, agreement: Any
) -> None:
    stream = new_stream(20_000, users=200, items=2_000)
    learner = make_learner(scan_up_to=100_000)
    stream.learn(learner)
    for item in range(0, 2_000, 4):
        for gone in range(3):
            learner.put_item(f"i{item + gone}", [], available=False)
    assert agreement(learner, users=100) >= 0.97
    shown = learner.top_k("u1", 20).items
    assert shown and all(int(item[1:]) % 4 == 3 for item in shown)
