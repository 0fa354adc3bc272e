"""Sessions: postings, prefixes, votes, and what the learner makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from online.sessions import SessionConfig, SessionLearner
from online.sessions_blend import MISS, rank_among
from online.sessions_candidates import KNN, NEXT, add_best, find_place, new_votes
from online.sessions_index import LATEST, add_visits, new_index
from online.sessions_neighbours import gather_votes
from online.sessions_protocol import block_ends, evaluate_sessions, summarise
from online.sessions_stream import SessionStream, SessionStreamBuilder, find_prefixes


def stream_of(*visits: str) -> SessionStream:
    """ "period session item day" of each visit."""
    builder = SessionStreamBuilder()
    for period, session, item, day in (visit.split() for visit in visits):
        builder.add(int(period), session, item, int(day))
    return builder.build()


def themes(
    periods: int = 4, sessions: int = 300, items: int = 60, jump_in_the_last: int = 0
) -> SessionStream:
    """Sessions that walk through neighbouring items, so that the next one can be foreseen."""
    rng = np.random.default_rng(0)
    builder = SessionStreamBuilder()
    for number in range(periods * sessions):
        at = int(rng.integers(items))
        for _ in range(int(rng.integers(2, 7))):
            builder.add(number // sessions, f"s{number}", f"i{at}", number // 30)
            jump = jump_in_the_last if number >= (periods - 1) * sessions else 0
            at = (at + jump + int(rng.integers(1, 3))) % items
    return builder.build()


def test_a_stream_is_numbered_as_it_comes() -> None:
    stream = stream_of("0 b x 1", "0 a y 1", "0 b y 1", "1 b x 2")
    assert stream.item_ids == ["x", "y"]
    assert stream.sessions.tolist() == [0, 1, 0, 0]
    assert stream.position.tolist() == [0, 0, 1, 2]
    assert stream.start.tolist() == [0, 3, 4]


def test_days_and_periods_never_go_back() -> None:
    for second in ("0 a y 1", "1 a y 1"):
        with pytest.raises(ValueError, match="comes after"):
            stream_of("1 a x 2", second)


def test_items_not_seen_in_earlier_periods_are_dropped() -> None:
    stream = stream_of("0 a x 1", "0 a y 1", "1 b x 2", "1 b new 2", "1 b y 2", "1 c new 2")
    found = find_prefixes(stream)
    assert found.counted.tolist() == [True, True, True, False, True, False]
    assert found.length.tolist() == [0, 1, 0, 1, 1, 0]
    start = stream.start[1]
    assert [stream.item_ids[i] for i in found.items[start : start + 2]] == ["x", "y"]


def test_postings_keep_the_latest_sessions_of_an_item() -> None:
    visits = [f"0 s{n} x 1" for n in range(LATEST + 3)]
    stream = stream_of(*visits, "0 s0 x 1")
    index = new_index(stream)
    add_visits(index, stream.sessions, stream.items)
    assert index.visited[0] == LATEST + 3, "a session counts once"
    assert index.visits[0] == LATEST + 4
    assert set(index.visitors.tolist()) == set(range(3, LATEST + 3))


def test_neighbours_vote_for_what_followed_and_not_for_their_own_session() -> None:
    stream = stream_of(
        "0 a x 1", "0 a y 1", "0 b x 1", "0 b y 1", "0 c x 1", "0 c z 1", "0 me x 1", "0 me w 1"
    )
    index = new_index(stream)
    add_visits(index, stream.sessions, stream.items)
    votes = new_votes(len(stream.item_ids), len(stream.start) - 1)
    x, y, z, w = range(4)
    me = int(stream.sessions[-1])
    count = gather_votes(index, np.array([x], np.int32), me, votes)
    place = {i: find_place(votes, count, i) for i in (x, y, z, w)}
    assert place[w] < 0
    assert votes.sums[place[y], NEXT] == 2
    assert votes.sums[place[z], NEXT] == 1
    assert votes.sums[place[y], KNN] > votes.sums[place[z], KNN] > 0


def test_the_best_of_all_are_the_best_that_are_allowed() -> None:
    rng = np.random.default_rng(3)
    for n, k in ((500, 20), (10, 20), (33, 1)):
        scores = rng.normal(size=n).astype(np.float32)
        allowed = (rng.random(n) < 0.8).astype(np.uint8)
        votes = new_votes(n, 1)
        count = add_best(
            votes, 0, scores, allowed, np.zeros(2 * k, np.int32), np.zeros(2 * k, np.float32)
        )
        usable = np.flatnonzero(allowed)
        expected = usable[np.argsort(-scores[usable])][:k]
        assert set(votes.items[:count].tolist()) == set(expected.tolist())


def test_ties_and_scores_that_are_no_number_count_against_us() -> None:
    scores = np.array([1, 2, 2, 0.5], np.float32)
    assert rank_among(scores, 4, 1) == 2
    assert rank_among(scores, 4, 0) == 3
    assert rank_among(scores, 4, -1) == MISS
    scores[0] = np.nan
    assert rank_among(scores, 4, 0) == MISS
    assert rank_among(scores, 4, 3) == 4, "a competitor that is no number is not below"


def test_blocks_end_where_the_mode_says() -> None:
    stream = stream_of("0 a x 1", "0 a y 2", "1 b x 3", "1 b y 4", "2 c x 5")
    assert block_ends(stream, "frozen").tolist() == [1, 2, 4, 5], "the first period is no test"
    assert block_ends(stream, "day").tolist() == [1, 2, 3, 4, 5]
    assert block_ends(stream, "event").tolist() == [1, 2, 3, 4, 5]


def test_every_period_has_the_same_weight() -> None:
    periods = np.array([1, 1, 1, 2])
    ranks = np.array([1, 30, 30, 2], np.int32)
    found = summarise(periods, ranks, np.ones(4, np.bool_))
    assert found == {"recall20": 0.666667, "mrr20": 0.416667, "recall10": 0.666667}


@pytest.mark.parametrize("mode", ["frozen", "day", "event"])
def test_what_follows_a_theme_is_foreseen(mode: str) -> None:
    stream = themes()
    done: list[int] = []
    found = evaluate_sessions(
        stream, SessionLearner(stream, SessionConfig(factors=8)), mode, 1, done.append  # type: ignore[arg-type]
    )  # fmt: skip
    assert sum(done) == len(stream)
    assert found["recall10"] > 0.9
    assert found["mrr20"] > 0.4


def test_a_seed_decides_everything_and_a_sample_is_a_part() -> None:
    stream = themes(periods=3)
    runs = [
        evaluate_sessions(stream, SessionLearner(stream), "day", sample, lambda _: None)
        for sample in (1, 1, 3)
    ]
    assert runs[0] == runs[1]
    assert runs[2]["recall20"] == pytest.approx(runs[0]["recall20"], abs=0.1)


def test_frozen_does_not_learn_inside_a_period() -> None:
    """In the last period sessions jump to items that nobody went to before."""
    stream = themes(sessions=600, jump_in_the_last=30)
    frozen, day = (
        evaluate_sessions(stream, SessionLearner(stream), mode, 1, lambda _: None)["mrr20"]
        for mode in ("frozen", "day")
    )
    assert day > 1.1 * frozen
