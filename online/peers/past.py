"""The past of a stream: what a peer may look at when it scores or learns the next interaction."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from online.arrays import F32, I32
from online.prequential_stream import Stream, empty_histories


class Past:
    """Counts and histories up to now.

    Attributes:
        counts: float32[items], interactions of each item; 0 for one not seen yet.
    """

    def __init__(self, stream: Stream) -> None:
        self._histories = empty_histories(stream.users, len(stream.user_ids))
        self.counts: F32 = np.zeros(len(stream.item_ids), np.float32)

    def history(self, user: int) -> I32:
        """A view of the items that the user took, oldest first; int32[m]."""
        start = self._histories.start[user]
        return self._histories.items[start : start + self._histories.length[user]]

    def add(self, user: int, item: int) -> None:
        """One interaction happened."""
        h = self._histories
        h.items[h.start[user] + h.length[user]] = item
        h.length[user] += 1
        self.counts[item] += 1


class Peer(Protocol):
    """A conventional recommender with one setting of its parameters."""

    def score(self, user: int, past: Past, scores: F32) -> None:
        """Fill in the scores of all items for a user; float32[items], higher is better.

        Items not seen yet, and those that the user has, are left out by the contest.
        """

    def learn(self, user: int, item: int, past: Past) -> None:
        """Learn an interaction; `past` does not have it yet."""


class BatchPeer(Peer, Protocol):
    """A peer that is trained on everything at every cut."""

    def train(self, users: I32, items: I32, past: Past) -> None:
        """Train anew on all interactions so far; int32[n] each, in event order."""
