"""Where the projection starts: at the half-whitened axes, turned to what is taken together.

    z = Wᵀ (x − μ),  Σ = U Λ Uᵀ,  W = U Λ^-½ √G

With G = Λ^½ it is the half-whitening, what the frozen vectors are compared by. A regularised
canonical correlation says in closed form what the pairs make of the same directions, u what a user
had met and t what he took next, both whitened:

    M = (C_uu + λ)⁻¹ C_ut (C_tt + λ)⁻¹,  λ the mean variance
    G = .6 (M + Mᵀ) / |M + Mᵀ| + .4 Λ^½ / |Λ^½|

On items that no pair had it is worth more than gradient steps on W alone (docs/content.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.text_ranker.pairs import Pairs

HALF = 0.25  # the power of a variance
DIRECTIONS = 2  # times the width: from so many of greatest variance the pairs choose
TURNED = 0.6  # share of what the pairs say in G

F64 = npt.NDArray[np.float64]


class Start(NamedTuple):
    """A projection: weight float64[width, hidden], bias float64[width]."""

    weight: F64
    bias: F64


def half_whitened(means: npt.NDArray[np.float32], width: int) -> Start:
    """Without any pair.

    Args:
        means: what the projection reads of every text, [items, hidden]; width: at most hidden.
    """
    mean, x = _centred(means)
    values, vectors = _axes(x, width)
    return _scaled(vectors / values**HALF, mean, x)


def turned(means: npt.NDArray[np.float32], pairs: Pairs, width: int) -> Start:
    """As the pairs of the training turn it."""
    mean, x = _centred(means)
    values, vectors = _axes(x, DIRECTIONS * width)
    frozen = np.sqrt(values)
    whitening = vectors / frozen
    said = _said_by(x @ whitening, np.sqrt(frozen), pairs)
    metric = TURNED * said / max(float(np.linalg.norm(said)), 1e-12)
    metric += (1 - TURNED) * np.diag(frozen) / np.linalg.norm(frozen)
    strengths, turn = np.linalg.eigh(metric)
    most = slice(-width, None)
    return _scaled(whitening @ (turn[:, most] * np.sqrt(np.maximum(strengths[most], 0))), mean, x)


def _centred(means: npt.NDArray[np.float32]) -> tuple[F64, F64]:
    x = means.astype(np.float64)
    mean = x.mean(0)
    return mean, x - mean


def _axes(x: F64, most: int) -> tuple[F64, F64]:
    """Variances and directions of the greatest, float64[k] and float64[hidden, k]."""
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    return np.maximum(values[-most:], 1e-12), vectors[:, -most:]


def _said_by(white: F64, half: F64, pairs: Pairs) -> F64:
    """The symmetric part of M, float64[k, k].

    Args:
        white: whitened items, float64[items, k]; white · half is half-whitened, where the items are
            made unit vectors and users are their weighted sums.
    """
    white = white / np.maximum(np.linalg.norm(white * half, axis=1, keepdims=True), 1e-12)
    users = pairs.spoken(len(white)) @ white
    users /= np.maximum(np.linalg.norm(users * half, axis=1, keepdims=True), 1e-12)
    users -= users.mean(0)
    taken = white[pairs.target] - white[pairs.target].mean(0)
    found = _inverse(users) @ (users.T @ taken / len(pairs)) @ _inverse(taken)
    return np.asarray(found + found.T)


def _inverse(rows: F64) -> F64:
    covariance = rows.T @ rows / len(rows)
    width = len(covariance)
    return np.linalg.inv(covariance + np.eye(width) * max(np.trace(covariance) / width, 1e-12))


def _scaled(basis: F64, mean: F64, x: F64) -> Start:
    """Coordinates of length 1 on average: weights are of one size whatever the trunk's are."""
    basis = basis / max(float(np.linalg.norm(x @ basis, axis=1).mean()), 1e-12)
    return Start(basis.T, -mean @ basis)
