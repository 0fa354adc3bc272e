"""eALS: weighted matrix factorisation, user and item re-solved at every event.

He, Zhang, Kan, Chua, "Fast matrix factorization for online recommendation with implicit feedback"
(SIGIR 2016), with a uniform weight w₀ of what was not taken: an event updates p_u over the user's
items and q_i over the item's users, one coordinate after the other; Pᵀ·P and Qᵀ·Q are kept.
"""

from __future__ import annotations

import numpy as np

from online.arrays import F32, FAST, I32
from online.kernels import kernel
from online.peers.past import Past
from online.prequential_stream import Stream, empty_histories

LATEST = 200  # interactions that an update looks at; older ones stay in the factors


class Eals:
    """See `online.peers.past.Peer`.

    Args:
        missing: w₀; regularization: λ; factors: width of p and q. A taken item has weight 1.
    """

    def __init__(
        self,
        stream: Stream,
        missing: float = 0.1,
        regularization: float = 1.0,
        factors: int = 64,
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        users, items = len(stream.user_ids), len(stream.item_ids)
        self._p = rng.normal(0, 0.01, (users, factors)).astype(np.float32)
        self._q = rng.normal(0, 0.01, (items, factors)).astype(np.float32)
        self._pp, self._qq = self._p.T @ self._p, self._q.T @ self._q
        self._missing, self._regularization = np.float32(missing), np.float32(regularization)
        self._takers = empty_histories(stream.items, items)

    def score(self, user: int, past: Past, scores: F32) -> None:
        """See `Peer`."""
        np.dot(self._q, self._p[user], out=scores)

    def learn(self, user: int, item: int, past: Past) -> None:
        """See `Peer`."""
        t = self._takers
        at = t.start[item] + t.length[item]
        t.items[at] = user
        t.length[item] += 1
        takers = t.items[max(t.start[item], at + 1 - LATEST) : at + 1]
        taken = np.append(past.history(user)[1 - LATEST :], np.int32(item))
        w0, reg = self._missing, self._regularization
        _solve(self._p[user], self._q, taken, self._qq, self._pp, w0, reg)
        _solve(self._q[item], self._p, takers, self._pp, self._qq, w0, reg)


@kernel(fastmath=FAST)
def _solve(
    x: F32, others: F32, linked: I32, gram: F32, own_gram: F32, w0: np.float32, reg: np.float32
) -> None:
    """One round of coordinate descent for the row `x` against the rows it is linked to.

    Args:
        x: float32[d], changed; others: float32[m, d]; linked: int32[k], rows of `others`.
        gram: float32[d, d] of `others`; own_gram: of the matrix that `x` is a row of, kept up.
    """
    d, k, more = len(x), len(linked), np.float32(1) - w0
    old = x.copy()
    predicted = np.zeros(k, np.float32)
    for n in range(k):
        for f in range(d):
            predicted[n] += x[f] * others[linked[n], f]
    for f in range(d):
        above, below = np.float32(0), w0 * gram[f, f] + reg
        for n in range(k):
            y = others[linked[n], f]
            above += (np.float32(1) - more * (predicted[n] - x[f] * y)) * y
            below += more * y * y
        for g in range(d):
            above -= w0 * x[g] * gram[g, f]
        above += w0 * x[f] * gram[f, f]
        change = above / below - x[f]
        x[f] += change
        for n in range(k):
            predicted[n] += change * others[linked[n], f]
    for f in range(d):
        for g in range(d):
            own_gram[f, g] += x[f] * x[g] - old[f] * old[g]
