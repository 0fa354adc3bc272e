"""Content axes: where embeddings are told apart, found while the catalogue grows.

A language model's sentence vectors share one direction and differ along a few; so they are centred,
cut to the 128 directions of greatest variance and half-whitened: divided by the square root of the
standard deviation along each (whole whitening: Su et al. 2103.15316). The script that a text is
written in shifts its vector more than what it says: each script is centred by itself. Means and
covariance are sums over the items; a young catalogue's covariance is shrunk towards the unit
sphere's, and it has one direction for every six items.

    z = Λ^-p Uᵀ (x − μ_s),  Σ = U Λ Uᵀ,  p = ¼ (½: whole whitening)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from online.arrays import F32, F64, U8
from online.content_terms import SCRIPTS

WIDTH = 128
HALF, WHOLE = 0.25, 0.5  # p
PRIOR = 200.0  # items that the sphere counts as
ITEMS_A_DIRECTION, FEWEST = 6, 32
OWN_MEAN = 8.0  # items that the mean of all counts as in a script's own
Floats = npt.NDArray[np.floating[Any]]


class Axes:
    """Sums over the embeddings of all items, and the axes that were made of them.

    Args:
        d: width of an embedding.
        power: p; 0: embeddings stay as they are.

    Attributes:
        d: width of an embedding; width: of what `project` gives, 128 or d where that is less.
        count: embeddings added.
    """

    def __init__(self, d: int, power: float = HALF) -> None:
        self.d = d
        self.width = min(WIDTH, d) if power else d
        self._power = power
        self.count = 0
        self._counts: F64 = np.zeros(SCRIPTS)
        self._sums: F64 = np.zeros((SCRIPTS, d))
        self._outer: F64 = np.zeros((d, d))
        self._means: F64 = np.zeros((SCRIPTS, d))
        self._basis: F64 = np.eye(d)[:, : self.width]
        self._back: F64 = self._basis

    def add(self, vectors: Floats, scripts: U8) -> None:
        """Count embeddings, float[n, d], of texts in these scripts, uint8[n]."""
        x = vectors.astype(np.float64)
        self.count += len(x)
        np.add.at(self._sums, scripts, x)
        np.add.at(self._counts, scripts, 1)
        self._outer += x.T @ x

    def fit(self) -> tuple[F64, F64]:
        """New axes; what takes coordinates on the old ones to the new.

        Returns:
            The matrix, and the offset for each script, float64[SCRIPTS, width].
        """
        if not self._power:
            return np.eye(self.d), np.zeros((SCRIPTS, self.d))
        n = max(self.count, 1)
        means = (self._sums + OWN_MEAN * self._sums.sum(axis=0) / n) / (
            self._counts[:, None] + OWN_MEAN
        )
        crossed = self._sums.T @ means / n
        centre = (means * self._counts[:, None]).T @ means / n
        covariance = self._outer / n - crossed - crossed.T + centre
        sphere = np.eye(self.d) * max(np.trace(covariance), 1e-12) / self.d
        share = self.count / (self.count + PRIOR)
        values, vectors = np.linalg.eigh(share * covariance + (1 - share) * sphere)
        best = slice(None, -self.width - 1, -1)
        spread = np.maximum(values[best], 1e-12) ** self._power
        used = np.arange(self.width) < max(FEWEST, self.count // ITEMS_A_DIRECTION)
        old_means, old_back = self._means, self._back
        self._means = means
        self._basis = vectors[:, best] / spread * used
        self._back = vectors[:, best] * spread
        return old_back.T @ self._basis, (old_means - means) @ self._basis

    def project(self, vectors: Floats, scripts: U8) -> F32:
        """Coordinates on the axes, float32[n, width], of texts in these scripts."""
        return ((vectors - self._means[scripts]) @ self._basis).astype(np.float32)
