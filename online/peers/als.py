"""Implicit-feedback ALS (Hu, Koren, Volinsky, ICDM 2008) by the library `implicit`.

Trained anew at every cut; between two cuts either nothing changes, or the user's vector is solved
for the items that he has by now ("fold-in"): with Y the item factors, Y_u those of his items,

    x_u = (YᵀY + λI + (α − 1) Y_uᵀY_u)⁻¹ α Σ Y_u
"""

from __future__ import annotations

from typing import Any

import numpy as np

from online.arrays import F32, I32
from online.peers.past import Past

FACTORS = 64
TIE = np.float32(1e-7)  # popularity decides among items that came after the training


class Als:
    """Stale users. See `online.peers.past.BatchPeer`.

    Args:
        alpha: α, confidence in an interaction; regularization: λ.
    """

    def __init__(self, users: int, items: int, alpha: float, regularization: float = 10.0) -> None:
        self._shape = (users, items)
        self._alpha, self._regularization = alpha, regularization
        self._known = np.zeros(users, bool)
        self._users: F32 = np.zeros((users, FACTORS), np.float32)
        self._items: F32 = np.zeros((items, FACTORS), np.float32)

    def train(self, users: I32, items: I32, past: Past) -> None:
        """See `BatchPeer`."""
        from implicit.als import AlternatingLeastSquares

        model = AlternatingLeastSquares(
            factors=FACTORS,
            regularization=self._regularization,
            alpha=self._alpha,
            iterations=8,
            num_threads=1,
            random_state=1,
            use_gpu=False,
        )
        model.fit(user_items(users, items, self._shape), show_progress=False)
        self._users, self._items = model.user_factors, model.item_factors
        self._items[past.counts == 0] = 0
        self._known = np.bincount(users, minlength=self._shape[0]) > 0

    def score(self, user: int, past: Past, scores: F32) -> None:
        """See `Peer`: by popularity for a user who is not in the model."""
        vector = self._vector(user, past)
        if vector is None:
            scores[:] = past.counts
            return
        np.dot(self._items, vector, out=scores)
        scores += TIE * past.counts

    def learn(self, user: int, item: int, past: Past) -> None:
        """Waits for the next cut."""

    def _vector(self, user: int, past: Past) -> F32 | None:
        return self._users[user] if self._known[user] else None


class AlsFoldIn(Als):
    """Users as they are now. See `online.peers.past.BatchPeer`."""

    def train(self, users: I32, items: I32, past: Past) -> None:
        """See `BatchPeer`."""
        super().train(users, items, past)
        self._gram = self._items.T @ self._items
        self._gram[np.diag_indices(FACTORS)] += np.float32(self._regularization)

    def _vector(self, user: int, past: Past) -> F32 | None:
        history = past.history(user)
        if not len(history) or not self._known.any():
            return None
        mine = self._items[history]
        gram = self._gram + np.float32(self._alpha - 1) * (mine.T @ mine)
        solved: F32 = np.linalg.solve(gram, np.float32(self._alpha) * mine.sum(axis=0))
        return solved


def user_items(users: I32, items: I32, shape: tuple[int, int]) -> Any:
    """The interactions as the sparse matrix that `implicit` fits; float32, 1 where taken."""
    from scipy.sparse import csr_matrix

    ones = np.ones(len(users), np.float32)
    matrix = csr_matrix((ones, (users, items)), shape=shape)
    matrix.data[:] = 1  # a repeat counts once
    return matrix
