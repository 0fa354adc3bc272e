"""Popularity: what everybody takes, ever or lately."""

from __future__ import annotations

import numpy as np

from online.arrays import F32
from online.peers.past import Past

RESCALED = 1e12


class Popularity:
    """Score n_i, the interactions of item i. See `online.peers.past.Peer`."""

    def score(self, user: int, past: Past, scores: F32) -> None:
        """See `Peer`."""
        scores[:] = past.counts

    def learn(self, user: int, item: int, past: Past) -> None:
        """The past counts."""


class DecayedPopularity:
    """Score Σ 2^(−age / half-life) over an item's interactions, age in interactions of all.

    Kept inflated: an interaction adds a step that grows with every one, so that only one number
    changes.
    """

    def __init__(self, items: int, half_life: float) -> None:
        self._counts = np.zeros(items)
        self._growth = 2.0 ** (1.0 / half_life)
        self._step = 1.0

    def score(self, user: int, past: Past, scores: F32) -> None:
        """See `Peer`."""
        scores[:] = self._counts

    def learn(self, user: int, item: int, past: Past) -> None:
        """See `Peer`."""
        self._counts[item] += self._step
        self._step *= self._growth
        if self._step > RESCALED:
            self._counts /= self._step
            self._step = 1.0
