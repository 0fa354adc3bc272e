"""The evaluator: its rules hold against a slow and plain one, and it cannot be fooled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from online.learner import MISS
from online.peers.contest import Contest
from online.peers.popularity import Popularity
from online.peers.roster import ROSTER
from online.prequential import Evaluated, Springtide, evaluate, ratios, report
from online.prequential_groups import by_events, earlier
from online.prequential_metrics import clustered_error, running, summarise
from online.prequential_stream import Stream, StreamBuilder


@pytest.fixture
def evaluated_stream(new_stream: Any) -> Stream:
    made = new_stream(1_200, users=40, items=120, seed=8)
    builder = StreamBuilder()
    for row in zip(made.users, made.items, made.times.tolist(), strict=True):
        builder.add(*row)
    return builder.build()


def plain_ranks(stream: Stream, half_life: float = np.inf) -> list[int]:
    """Popularity ranks by dictionaries."""
    ranks, taken, events = [], {}, []
    for at, (user, item) in enumerate(zip(stream.users, stream.items, strict=True)):
        counts: dict[int, float] = {}
        for then, other in events:
            counts[other] = counts.get(other, 0.0) + 2.0 ** (-(at - then) / half_life)
        mine = taken.setdefault(user, set())
        rivals = [c for i, c in counts.items() if i not in mine]
        rank = sum(c >= counts[item] for c in rivals) if item in counts else MISS
        ranks.append(rank)
        mine.add(item)
        events.append((at, item))
    return ranks


def popularity(stream: Stream) -> Contest:
    return Contest(stream, {"": Popularity()})


def test_popularity_ranks_follow_the_rules(evaluated_stream: Stream) -> None:
    ranks = evaluate(evaluated_stream, popularity(evaluated_stream), lambda _: None).ranks
    assert ranks.tolist() == plain_ranks(evaluated_stream)


def test_decayed_popularity_follows_the_rules(evaluated_stream: Stream) -> None:
    peer = Contest(evaluated_stream, ROSTER["decayed-popularity"].settings(evaluated_stream))
    found = evaluate(evaluated_stream, peer, lambda _: None)
    assert len(found.settings) == 5
    for setting, ranks in found.settings.items():
        expected = plain_ranks(evaluated_stream, float(setting.removeprefix("half-life ")))
        assert np.mean(ranks == expected) > 0.98  # rounding decides some ties
    last = {
        setting: summarise(ranks, evaluated_stream.users)["last_half"]
        for setting, ranks in found.settings.items()
    }
    best = max(last, key=lambda s: last[s]["hr10"] + last[s]["ndcg10"])
    assert found.setting == best
    assert found.ranks.tolist() == found.settings[best].tolist()


def test_the_learner_and_the_peer_agree_on_popularity(evaluated_stream: Stream) -> None:
    s, method = evaluated_stream, Springtide(evaluated_stream)
    learned = method.learner.learn(
        0,
        [s.user_ids[u] for u in s.users],
        [s.item_ids[i] for i in s.items],
        np.zeros(len(s), np.int8),
        s.times,
    )
    assert learned.popularity_ranks.tolist() == plain_ranks(s)


def test_metrics_of_known_ranks() -> None:
    ranks = np.array([1, 3, 10, 11, 20, 21, MISS, 0], np.int32)
    overall = summarise(ranks, np.arange(8, dtype=np.int32))["overall"]
    assert overall["hr10"] == pytest.approx(3 / 7, abs=1e-6)
    assert overall["ndcg10"] == pytest.approx((1 + 0.5 + 1 / np.log2(11)) / 7, abs=1e-6)
    mrr = 1 + 1 / 3 + 1 / 10 + 1 / 11 + 1 / 20
    assert overall["mrr20"] == pytest.approx(mrr / 7, abs=1e-6)


def test_the_last_half_is_the_last_half_by_index() -> None:
    ranks = np.array([MISS] * 3 + [1] * 3, np.int32)
    found = summarise(ranks, np.zeros(6, np.int32))
    assert found["overall"]["hr10"] == 0.5
    assert found["last_half"]["hr10"] == 1.0


def test_errors_are_clustered_by_user() -> None:
    values = np.array([1.0, 1.0, 0.0, 0.0])
    alone = clustered_error(values, np.arange(4, dtype=np.int32))
    together = clustered_error(values, np.array([0, 0, 1, 1], np.int32))
    assert alone == pytest.approx(0.25)
    assert together == pytest.approx(0.5 / np.sqrt(2))
    assert clustered_error(np.zeros(0), np.zeros(0, np.int32)) == 0.0


def test_a_diverged_model_cannot_win(evaluated_stream: Stream) -> None:
    method = Springtide(evaluated_stream)
    method.learn(0, 600)
    method.learner._shared.model.blend.weights[:] = np.nan  # loaded, they would begin anew
    method.learn(600, 1_000)
    ranks = method.ranks[600:606]  # later the guard steps in
    assert (ranks[ranks > 0] == MISS).all()


def test_repeats_are_dropped_before_the_limit_and_counted() -> None:
    pairs = ["u a", "u a", "u b", "v a", "u b", "v b"]
    for keep, expected in ((False, ["u a", "u b", "v a"]), (True, ["u a", "u a", "u b"])):
        builder = StreamBuilder(keep_repeats=keep, limit=3)
        for pair in pairs:
            if not builder.full:
                builder.add(*pair.split(), 0.0)
        stream = builder.build()
        names = [
            f"{stream.user_ids[u]} {stream.item_ids[i]}"
            for u, i in zip(stream.users, stream.items, strict=True)
        ]
        assert names == expected
        assert stream.repeats == 1


def test_repeats_are_learned_but_not_ranked() -> None:
    builder = StreamBuilder(keep_repeats=True)
    for pair in ["u a", "v a", "u a", "v b", "u b"]:
        builder.add(*pair.split(), 0.0)
    stream = builder.build()
    for method in (Springtide(stream), popularity(stream)):
        ranks = evaluate(stream, method, lambda _: None).ranks
        assert ranks.tolist() == [MISS, 1, 0, MISS, 1]


def test_progress_reaches_the_end_and_the_report_is_complete(evaluated_stream: Stream) -> None:
    done: list[int] = []
    found = evaluate(evaluated_stream, Springtide(evaluated_stream), done.append)
    assert sum(done) == len(evaluated_stream)
    told = report(evaluated_stream, {"springtide": found})
    assert told["events"] == len(evaluated_stream)
    method = told["methods"]["springtide"]
    groups = {"by_item_events", "by_user_events"}
    assert set(method) == {"overall", "last_half", "update_us", "list_us"} | groups
    assert set(method["overall"]) == {"hr10", "ndcg10", "mrr20"}
    assert set(method["last_half"]) == {"hr10", "ndcg10", "mrr20", "hr10_se", "ndcg10_se"}
    assert method["update_us"] > 0 < method["list_us"]


def test_an_empty_stream_is_no_accident() -> None:
    stream = StreamBuilder().build()
    found = evaluate(stream, popularity(stream), lambda _: None)
    assert report(stream, {"popularity": found})["events"] == 0
    assert isinstance(found, Evaluated)


def test_groups_count_what_came_before() -> None:
    builder = StreamBuilder()
    for pair in ["u a", "v a", "w a", "u b", "x a", "y b"]:
        builder.add(*pair.split(), 0.0)
    stream = builder.build()
    assert earlier(stream.items).tolist() == [0, 1, 2, 0, 3, 1]
    found = by_events(stream, np.array([1, 1, 1, MISS, 2, 30], np.int32))
    nothing = dict.fromkeys(("hr10", "ndcg10", "mrr20", "hr10_se", "ndcg10_se"), 0)
    assert found["by_item_events"]["0"] == {"n": 1, **nothing}
    assert found["by_item_events"]["1-4"]["n"] == 2
    assert found["by_item_events"]["1-4"]["hr10"] == 0.5
    assert found["by_user_events"]["0"]["n"] == 2
    # The hit is user x's and the miss user y's: √(.5² + .5²) / 2.
    assert found["by_item_events"]["1-4"]["hr10_se"] == pytest.approx(0.353553)
    assert list(found["by_user_events"]) == ["0", "1-2", "3-7", "8+"]
    assert found["by_user_events"]["8+"] == {"n": 0, **nothing}


def test_running_means_look_back_over_a_window_and_skip_what_was_not_ranked() -> None:
    at, means = running(np.array([1.0, 0.0, np.nan, 1.0, 1.0, np.nan]), window=2, points=5)
    assert at.tolist() == [2, 3, 4, 5, 6]
    assert means.tolist() == [0.5, 0.0, 1.0, 1.0, 1.0]
    assert running(np.zeros(0), 3, 5)[0].tolist() == []


def test_ratios_are_ours_over_theirs() -> None:
    ndcg = {"springtide": 0.2, "markov": 0.1, "als": 0.05, "isgd": 0.0}
    methods = {name: {"last_half": {"ndcg10": value}} for name, value in ndcg.items()}
    assert ratios(methods) == {"best_peer": "markov", "ndcg10": {"markov": 2.0, "als": 4.0}}
