"""ISGD: matrix factorisation by one gradient step per positive interaction.

Vinagre, Jorge, Gama, "Fast incremental matrix factorization for recommendation with positive-only
feedback" (UMAP 2014): e = 1 − p_u·q_i, p_u += η(e·q_i − λ·p_u), q_i += η(e·p_u − λ·q_i).
"""

from __future__ import annotations

import numpy as np

from online.arrays import F32
from online.peers.past import Past


class Isgd:
    """See `online.peers.past.Peer`.

    Args:
        rate: η; regularization: λ; factors: width of p and q.
    """

    def __init__(
        self,
        users: int,
        items: int,
        rate: float,
        regularization: float = 0.01,
        factors: int = 64,
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        self._p = rng.normal(0, 0.1, (users, factors)).astype(np.float32)
        self._q = rng.normal(0, 0.1, (items, factors)).astype(np.float32)
        self._rate, self._regularization = np.float32(rate), np.float32(regularization)

    def score(self, user: int, past: Past, scores: F32) -> None:
        """See `Peer`."""
        np.dot(self._q, self._p[user], out=scores)

    def learn(self, user: int, item: int, past: Past) -> None:
        """See `Peer`. The error is cut to ±1, so that no step can blow up."""
        p, q = self._p[user], self._q[item]
        error = np.float32(min(1.0, max(-1.0, 1.0 - float(p @ q))))
        p += self._rate * (error * q - self._regularization * p)
        q += self._rate * (error * p - self._regularization * q)
