"""First-order Markov chain: what users took right after the item that the user took last."""

from __future__ import annotations

import numpy as np

from online.arrays import F32, I32
from online.kernels import kernel
from online.peers.past import Past

TIE = np.float32(1e-6)  # popularity decides among items that never followed


class Markov:
    """See `online.peers.past.Peer`. A linked list of successors per item: memory is O(events)."""

    def __init__(self, items: int, events: int) -> None:
        self._latest = np.full(items, -1, np.int32)
        self._before = np.empty(events, np.int32)
        self._followed_by = np.empty(events, np.int32)
        self._links = 0

    def score(self, user: int, past: Past, scores: F32) -> None:
        """See `Peer`."""
        np.multiply(past.counts, TIE, out=scores)
        history = past.history(user)
        if len(history):
            _add_successors(self._latest[history[-1]], self._before, self._followed_by, scores)

    def learn(self, user: int, item: int, past: Past) -> None:
        """See `Peer`."""
        history = past.history(user)
        if len(history):
            self._followed_by[self._links] = item
            self._before[self._links] = self._latest[history[-1]]
            self._latest[history[-1]] = self._links
            self._links += 1


@kernel()
def _add_successors(link: int, before: I32, followed_by: I32, scores: F32) -> None:
    while link >= 0:
        scores[followed_by[link]] += 1
        link = before[link]
