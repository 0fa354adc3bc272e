"""EASE (Steck, WWW 2019): a linear item-item model with a closed form.

With X the 0/1 matrix of interactions, P = (XᵀX + λI)⁻¹ and B = −P / diag(P), diag(B) = 0:
score_i = Σ_{h of the user} B[h,i]. B is made anew at every cut; the user's items are those of the
last cut, or, "fresh", those that he has by now.
"""

from __future__ import annotations

import numpy as np

from online.arrays import F32, FAST, I32
from online.kernels import kernel
from online.peers.als import user_items
from online.peers.past import Past

FEWEST = 3  # interactions of an item that enters the model
TIE = np.float32(1e-6)  # popularity decides among items that nothing links to the user


class EaseFresh:
    """The user's items as they are now. See `online.peers.past.BatchPeer`.

    Args:
        regularization: λ.
    """

    def __init__(self, users: int, items: int, regularization: float) -> None:
        self._shape = (users, items)
        self._regularization = np.float32(regularization)
        self._weights = np.zeros((0, 0), np.float32)
        self._kept = np.zeros(0, np.int64)
        self._row = np.full(items, -1, np.int32)
        self._sum = np.zeros(0, np.float32)

    def train(self, users: I32, items: I32, past: Past) -> None:
        """See `BatchPeer`."""
        self._kept = np.flatnonzero(past.counts >= FEWEST)
        self._row[:] = -1
        self._row[self._kept] = np.arange(len(self._kept))
        self._sum = np.zeros(len(self._kept), np.float32)
        taken = user_items(users, items, self._shape)[:, self._kept]
        gram = np.asarray((taken.T @ taken).toarray(), np.float32, order="F")
        self._weights = solve(gram, self._regularization)

    def score(self, user: int, past: Past, scores: F32) -> None:
        """See `Peer`."""
        np.multiply(past.counts, TIE, out=scores)
        add_rows(self._weights, self._row[self._taken(user, past)], self._sum)
        scores[self._kept] += self._sum

    def learn(self, user: int, item: int, past: Past) -> None:
        """The past has it; the weights wait for the next cut."""

    def _taken(self, user: int, past: Past) -> I32:
        return past.history(user)


class Ease(EaseFresh):
    """The user's items as they were at the last cut. See `online.peers.past.BatchPeer`."""

    def train(self, users: I32, items: I32, past: Past) -> None:
        """See `BatchPeer`."""
        super().train(users, items, past)
        self._had = np.bincount(users, minlength=self._shape[0])

    def _taken(self, user: int, past: Past) -> I32:
        return past.history(user)[: self._had[user]] if len(self._kept) else past.history(user)[:0]


def solve(gram: F32, regularization: np.float32) -> F32:
    """B of a Gram matrix; float32[k, k]. The Gram matrix is overwritten.

    Raises:
        ValueError: it is not positive definite.
    """
    from scipy.linalg import lapack

    if not len(gram):
        return gram
    gram[np.diag_indices(len(gram))] += regularization
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, failed_too = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or failed_too:
        raise ValueError("EASE: the Gram matrix is not positive definite; raise λ")
    inverse = np.tril(inverse)
    inverse += np.tril(inverse, -1).T
    weights: F32 = np.ascontiguousarray(-inverse / np.diag(inverse)[None, :])
    weights[np.diag_indices(len(weights))] = 0
    return weights


@kernel(fastmath=FAST)
def add_rows(matrix: F32, rows: I32, total: F32) -> None:
    """Sum of some rows into `total`, float32[k]; a row below 0 is none."""
    total[:] = 0
    for r in rows:
        if r >= 0:
            row = matrix[r]
            for i in range(len(total)):
                total[i] += row[i]
