"""One behaviour suite that every conventional peer passes, with every setting it comes with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from online.learner import MISS
from online.peers.contest import Contest
from online.peers.past import Past, Peer
from online.peers.roster import ROSTER
from online.prequential import evaluate
from online.prequential_metrics import summarise
from online.prequential_stream import Stream, StreamBuilder

NAMES = list(ROSTER)
BATCH = [name for name in NAMES if ROSTER[name].batch]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the command runs them; more would make sums depend on timing."""
    import scipy.linalg  # noqa: F401  (brings its BLAS, to be limited too)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        yield


@pytest.fixture(scope="session")
def crowd(new_stream: Any) -> Stream:
    """900 interactions of 40 users with 90 items, without repeats."""
    made = new_stream(1_500, users=40, items=90, seed=3)
    builder = StreamBuilder(limit=900)
    for row in zip(made.users, made.items, made.times.tolist(), strict=True):
        if not builder.full:
            builder.add(*row)
    return builder.build()


def ranks_of(stream: Stream, name: str) -> dict[str, list[int]]:
    contest = Contest(stream, ROSTER[name].settings(stream))
    contest.learn(0, len(stream))
    return {setting: ranks.tolist() for setting, ranks in contest.settings.items()}


def plain_rank(peer: Peer, past: Past, user: int, item: int) -> int:
    """The rule, in plain words."""
    scores = np.zeros(len(past.counts), np.float32)
    peer.score(user, past, scores)
    mine = set(past.history(user).tolist())
    if item in mine:
        return 0
    if not past.counts[item] or not np.isfinite(scores[item]):
        return MISS
    rivals = (i for i in range(len(scores)) if past.counts[i] and i not in mine)
    return sum(bool(scores[i] >= scores[item]) for i in rivals)


@pytest.mark.parametrize("name", NAMES)
def test_ranks_follow_the_rules(crowd: Stream, name: str) -> None:
    by_contest = ranks_of(crowd, name)
    cuts = set(np.linspace(0, len(crowd), 21).astype(int)[1:-1].tolist())
    for setting, peer in ROSTER[name].settings(crowd).items():
        past, plain = Past(crowd), []
        for e, (user, item) in enumerate(zip(crowd.users, crowd.items, strict=True)):
            if e in cuts and hasattr(peer, "train"):
                peer.train(crowd.users[:e], crowd.items[:e], past)
            plain.append(plain_rank(peer, past, user, item))
            peer.learn(user, item, past)
            past.add(user, item)
        assert by_contest[setting] == plain


@pytest.mark.parametrize("name", NAMES)
def test_every_score_is_finite_and_a_second_run_is_the_same(crowd: Stream, name: str) -> None:
    assert ranks_of(crowd, name) == ranks_of(crowd, name)
    for peer in ROSTER[name].settings(crowd).values():
        past, scores = Past(crowd), np.zeros(len(crowd.item_ids), np.float32)
        for e, (user, item) in enumerate(zip(crowd.users, crowd.items, strict=True)):
            peer.score(user, past, scores)
            assert np.isfinite(scores).all()
            peer.learn(user, item, past)
            past.add(user, item)
            if e == 450 and hasattr(peer, "train"):
                peer.train(crowd.users[: e + 1], crowd.items[: e + 1], past)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_sees_the_future(crowd: Stream, name: str) -> None:
    swapped = np.concatenate([np.arange(600), np.arange(899, 599, -1)])
    other = Stream(
        crowd.user_ids, crowd.item_ids, crowd.users[swapped], crowd.items[swapped], crowd.times, 0
    )
    for setting, ranks in ranks_of(crowd, name).items():
        assert ranks_of(other, name)[setting][:600] == ranks[:600]


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_what_leads_to_what(crowd: Stream, name: str) -> None:
    found = evaluate(crowd, Contest(crowd, ROSTER[name].settings(crowd)), lambda _: None)
    hr10 = summarise(found.ranks, crowd.users)["last_half"]["hr10"]
    by_chance = 10 / len(crowd.item_ids)
    personal = {"markov", "item-cosine", "als-fold-in", "ease-fresh"}
    assert hr10 > (1.2 * by_chance if name in personal else 0.3 * by_chance)


@pytest.mark.parametrize("name", BATCH)
def test_only_a_fresh_peer_changes_between_two_cuts(crowd: Stream, name: str) -> None:
    for peer in ROSTER[name].settings(crowd).values():
        past = Past(crowd)
        for user, item in zip(crowd.users[:450], crowd.items[:450], strict=True):
            past.add(user, item)
        peer.train(crowd.users[:450], crowd.items[:450], past)  # type: ignore[attr-defined]
        user = int(crowd.users[0])
        held = set(past.history(user).tolist())
        item = next(i for i in range(len(past.counts)) if past.counts[i] > 3 and i not in held)
        before, after = np.zeros((2, len(past.counts)), np.float32)
        peer.score(user, past, before)
        past.add(user, item)
        past.counts[item] -= 1  # popularity breaks ties; here it must not
        peer.score(user, past, after)
        assert np.allclose(before, after, atol=1e-6) == (name in {"als", "bpr", "ease"})


def test_a_peer_that_diverged_cannot_win(crowd: Stream) -> None:
    class Diverged:
        def score(self, user: int, past: Past, scores: np.ndarray) -> None:
            scores[:] = np.nan

        def learn(self, user: int, item: int, past: Past) -> None:
            pass

    contest = Contest(crowd, {"": Diverged()})
    contest.learn(0, len(crowd))
    assert set(contest.ranks.tolist()) == {MISS}
