"""BPR, Bayesian personalised ranking (Rendle et al., UAI 2009), by `implicit`; stale users."""

from __future__ import annotations

import numpy as np

from online.arrays import F32, I32
from online.peers.als import FACTORS, user_items
from online.peers.past import Past

BELOW = np.float32(10)  # what the model never saw comes after what it saw


class Bpr:
    """See `online.peers.past.BatchPeer`.

    Args:
        rate: of its gradient steps; regularization: λ; epochs: times over the interactions.
    """

    def __init__(
        self,
        users: int,
        items: int,
        rate: float,
        regularization: float = 0.01,
        epochs: int = 40,
    ) -> None:
        self._shape = (users, items)
        self._rate, self._regularization, self._epochs = rate, regularization, epochs
        self._known = np.zeros(users, bool)
        self._users: F32 = np.zeros((users, FACTORS + 1), np.float32)
        self._items: F32 = np.zeros((items, FACTORS + 1), np.float32)

    def train(self, users: I32, items: I32, past: Past) -> None:
        """See `BatchPeer`."""
        from implicit.bpr import BayesianPersonalizedRanking

        model = BayesianPersonalizedRanking(
            factors=FACTORS,
            learning_rate=self._rate,
            regularization=self._regularization,
            iterations=self._epochs,
            num_threads=1,
            random_state=1,
            use_gpu=False,
        )
        model.fit(user_items(users, items, self._shape), show_progress=False)
        self._users, self._items = model.user_factors, model.item_factors
        unseen = past.counts == 0
        lowest = self._items[~unseen, FACTORS].min() - BELOW
        self._items[unseen] = 0
        self._items[unseen, FACTORS] = lowest
        self._known = np.bincount(users, minlength=self._shape[0]) > 0

    def score(self, user: int, past: Past, scores: F32) -> None:
        """See `Peer`: by popularity for a user who is not in the model."""
        if self._known[user]:
            np.dot(self._items, self._users[user], out=scores)
        else:
            scores[:] = past.counts

    def learn(self, user: int, item: int, past: Past) -> None:
        """Waits for the next cut."""
