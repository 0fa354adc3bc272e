"""Item cosine, updated per event: items that the same users took.

With C[i,h] = users who took both: score_i = Σ_{h of the user} C[i,h] / √(n_h · n_i).
"""

from __future__ import annotations

import numpy as np

from online.arrays import F32, FAST, I32
from online.kernels import kernel
from online.peers.past import Past

TIE = np.float32(1e-7)  # popularity decides among items that nothing links to the user


class ItemCosine:
    """See `online.peers.past.Peer`. Dense: 4 bytes × items²."""

    def __init__(self, items: int) -> None:
        self._both = np.zeros((items, items), np.float32)

    def score(self, user: int, past: Past, scores: F32) -> None:
        """See `Peer`."""
        _score(self._both, past.history(user), past.counts, scores)

    def learn(self, user: int, item: int, past: Past) -> None:
        """See `Peer`."""
        history = past.history(user)
        self._both[history, item] += 1
        self._both[item, history] += 1


@kernel(fastmath=FAST)
def _score(both: F32, history: I32, counts: F32, scores: F32) -> None:
    scores[:] = 0
    for taken in history:
        weight = np.float32(1 / np.sqrt(counts[taken]))
        row = both[taken]
        for i in range(len(scores)):
            scores[i] += weight * row[i]
    for i in range(len(scores)):
        scores[i] = scores[i] / np.sqrt(counts[i] + np.float32(1e-3)) + TIE * counts[i]
