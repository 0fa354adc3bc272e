"""The peers' formulas, held against slow and plain ones."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from online.peers.als import AlsFoldIn, user_items
from online.peers.eals import Eals
from online.peers.ease import solve
from online.peers.isgd import Isgd
from online.peers.item_cosine import ItemCosine
from online.peers.markov import Markov
from online.peers.past import Past, Peer
from online.prequential_stream import Stream, StreamBuilder


@pytest.fixture
def taken() -> Stream:
    """300 interactions of 12 users with 40 items."""
    rng = np.random.default_rng(1)
    builder = StreamBuilder()
    for user, item in zip(rng.integers(12, size=400), rng.integers(40, size=400), strict=True):
        builder.add(f"u{user}", f"i{item}", 0.0)
    return builder.build()


def matrix(stream: Stream) -> np.ndarray:
    """Users × items, 1 where taken."""
    x = np.zeros((len(stream.user_ids), len(stream.item_ids)))
    x[stream.users, stream.items] = 1
    return x


def learn_all(stream: Stream, peer: Peer) -> Past:
    past = Past(stream)
    for user, item in zip(stream.users.tolist(), stream.items.tolist(), strict=True):
        peer.learn(user, item, past)
        past.add(user, item)
    return past


def scores_of(peer: Peer, past: Past, user: int) -> np.ndarray:
    scores = np.zeros(len(past.counts), np.float32)
    peer.score(user, past, scores)
    return scores


def test_item_cosine(taken: Stream) -> None:
    peer = ItemCosine(len(taken.item_ids))
    past = learn_all(taken, peer)
    x = matrix(taken)
    both = x.T @ x
    np.fill_diagonal(both, 0)
    cosine = both / np.sqrt(np.outer(past.counts, past.counts))
    for user in range(len(x)):
        assert_allclose(scores_of(peer, past, user), cosine @ x[user], rtol=2e-3, atol=1e-4)


def test_markov_counts_what_came_next(taken: Stream) -> None:
    peer = Markov(len(taken.item_ids), len(taken))
    past = learn_all(taken, peer)
    follows = np.zeros((len(taken.item_ids), len(taken.item_ids)))
    for user in range(len(taken.user_ids)):
        items = past.history(user)
        np.add.at(follows, (items[:-1], items[1:]), 1)
    for user in range(len(taken.user_ids)):
        expected = follows[past.history(user)[-1]]
        assert_allclose(scores_of(peer, past, user), expected, atol=1e-3)


def test_ease_is_steck_s_closed_form(taken: Stream) -> None:
    x = matrix(taken)
    gram = x.T @ x
    inverse = np.linalg.inv(gram + 50 * np.eye(len(gram)))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    found = solve(np.asfortranarray(gram, np.float32), np.float32(50))
    assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("alpha", [1.0, 20.0])
def test_fold_in_is_what_implicit_recalculates(taken: Stream, alpha: float) -> None:
    import scipy.linalg  # noqa: F401
    from implicit.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    shape = (len(taken.user_ids), len(taken.item_ids))
    peer = AlsFoldIn(*shape, alpha)
    past = learn_all(taken, peer)
    with threadpool_limits(1, "blas"):
        peer.train(taken.users, taken.items, past)
        model = AlternatingLeastSquares(
            factors=64, regularization=10.0, alpha=alpha, random_state=1, num_threads=1
        )
        model.item_factors = peer._items
        x = user_items(taken.users, taken.items, shape)
        for user in range(shape[0]):
            theirs = model.recalculate_user(user, x[user])
            assert_allclose(peer._vector(user, past), theirs, rtol=1e-3, atol=1e-4)


def test_isgd_brings_the_prediction_nearer_to_one(taken: Stream) -> None:
    peer = Isgd(len(taken.user_ids), len(taken.item_ids), rate=0.05)
    past = Past(taken)
    predictions = []
    for _ in range(50):
        predictions.append(float(scores_of(peer, past, 0)[0]))
        peer.learn(0, 0, past)
    distances = np.abs(1 - np.array(predictions))
    assert distances[-1] < 0.2 < distances[0]
    assert (np.diff(distances) < 1e-6).all()


def test_eals_keeps_its_grams_and_lowers_its_loss(taken: Stream) -> None:
    peer = Eals(taken, missing=0.1, regularization=1.0, factors=8)
    learn_all(taken, peer)
    assert_allclose(peer._pp, peer._p.T @ peer._p, atol=1e-3)
    assert_allclose(peer._qq, peer._q.T @ peer._q, atol=1e-3)
    x = matrix(taken)
    weights = np.where(x > 0, 1.0, 0.1)

    def loss(p: np.ndarray, q: np.ndarray) -> float:
        return float((weights * (x - p @ q.T) ** 2).sum() + (p**2).sum() + (q**2).sum())

    start = Eals(taken, missing=0.1, regularization=1.0, factors=8)
    assert loss(peer._p, peer._q) < 0.8 * loss(start._p, start._q)
