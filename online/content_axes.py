"""Content axes: where embeddings are told apart, found while the catalogue grows.

A language model's sentence vectors share one direction and differ along a few; so they are centred,
cut to the 128 directions of greatest variance and half-whitened: divided by the square root of the
standard deviation along each (whole whitening: Su et al. 2103.15316). Mean and covariance are sums
over the items; a young catalogue's covariance is shrunk towards the unit sphere's.

    z = Λ^-p Uᵀ (x − μ),  Σ = U Λ Uᵀ,  p = ¼ (½: whole whitening)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from online.arrays import F32, F64

WIDTH = 128
HALF, WHOLE = 0.25, 0.5  # p
PRIOR = 200.0  # items that the sphere counts as
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
        self._sum: F64 = np.zeros(d)
        self._outer: F64 = np.zeros((d, d))
        self._mean: F64 = np.zeros(d)
        self._basis: F64 = np.eye(d)[:, : self.width]
        self._back: F64 = self._basis

    def add(self, vectors: Floats) -> None:
        """Count embeddings, float[n, d]."""
        x = vectors.astype(np.float64)
        self.count += len(x)
        self._sum += x.sum(axis=0)
        self._outer += x.T @ x

    def fit(self) -> tuple[F64, F64]:
        """New axes; the matrix and the offset that take coordinates on the old ones to the new."""
        if not self._power:
            return np.eye(self.d), np.zeros(self.d)
        mean = self._sum / max(self.count, 1)
        covariance = self._outer / max(self.count, 1) - np.outer(mean, mean)
        sphere = np.eye(len(mean)) * max(np.trace(covariance), 1e-12) / len(mean)
        share = self.count / (self.count + PRIOR)
        values, vectors = np.linalg.eigh(share * covariance + (1 - share) * sphere)
        best = slice(None, -self.width - 1, -1)
        spread = np.maximum(values[best], 1e-12) ** self._power
        old_mean, old_back = self._mean, self._back
        self._mean = mean
        self._basis = vectors[:, best] / spread
        self._back = vectors[:, best] * spread
        return old_back.T @ self._basis, (old_mean - mean) @ self._basis

    def project(self, vectors: Floats) -> F32:
        """Coordinates on the axes, float32[n, width]."""
        return ((vectors - self._mean) @ self._basis).astype(np.float32)
