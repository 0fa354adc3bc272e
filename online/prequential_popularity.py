"""Popularity peers: plain counts, and counts that fade with the best of five half-lives.

The decayed peer is favoured: all five half-lives run beside each other, and the one is reported
that, in hindsight, has the highest NDCG@10 on the last half of the stream.
"""

from __future__ import annotations

import numpy as np

from online.arrays import F64, I32, I64
from online.blend import MISS
from online.kernels import kernel
from online.popularity import HALF_LIVES
from online.prequential_metrics import gains
from online.prequential_stream import Histories, Stream, empty_histories
from online.topk import select

LIST_SIZE = 50
RESCALED = 1e12


class PopularityPeer:
    """Counts of all items, fading with one of several half-lives (infinity: plain counts)."""

    def __init__(self, stream: Stream, half_lives: tuple[float, ...] = (np.inf,)) -> None:
        n, items = len(stream), len(stream.item_ids)
        self.half_lives = half_lives
        self._stream = stream
        self._histories = empty_histories(stream)
        self._growth = 2.0 ** (1.0 / np.array(half_lives))
        self._step = np.ones(len(half_lives))
        self._counts = np.zeros((len(half_lives), items))
        self._seen = np.full(items, -1, np.int64)
        self._scores = np.zeros(items, np.float32)
        self.ranks = np.zeros((len(half_lives), n), np.int32)

    def learn(self, start: int, end: int) -> I32:
        """See `online.prequential.Method`; the ranks of the first half-life."""
        learn_counts(
            start,
            end,
            self._stream.users,
            self._stream.items,
            self._histories,
            self._counts,
            self._step,
            self._growth,
            self._seen,
            self.ranks,
        )
        return self.ranks[0, start:end]

    def recommend(self, user: int) -> None:
        """See `online.prequential.Method`."""
        h = self._histories
        self._scores[:] = self._counts[0]
        start = h.start[user]
        self._scores[h.items[start : start + h.length[user]]] = -np.inf
        found, best = np.zeros(LIST_SIZE, np.int32), np.zeros(LIST_SIZE, np.float32)
        select(len(self._scores), self._scores, found, best)

    def best(self) -> tuple[float, I32]:
        """The half-life that did best on the last half, and its ranks on the whole stream."""
        last = self.ranks[:, self.ranks.shape[1] // 2 :]
        scores = [gains(ranks[ranks > 0]).sum() for ranks in last]
        at = int(np.argmax(scores))
        return self.half_lives[at], self.ranks[at]


def decayed(stream: Stream) -> PopularityPeer:
    """The peer with the learner's own half-lives."""
    return PopularityPeer(stream, tuple(HALF_LIVES.tolist()))


@kernel()
def learn_counts(
    start: int,
    end: int,
    users: I32,
    items: I32,
    h: Histories,
    counts: F64,
    step: F64,
    growth: F64,
    seen: I64,
    ranks: I32,
) -> None:
    """Rank by each count and learn; `seen` holds the event that marked an item last."""
    for e in range(start, end):
        user, item = users[e], items[e]
        first = h.start[user]
        for at in range(first, first + h.length[user]):
            seen[h.items[at]] = e
        for c in range(len(step)):
            ranks[c, e] = _rank(counts[c], seen, e, item)
            counts[c, item] += step[c]
            step[c] *= growth[c]
            if step[c] > RESCALED:
                counts[c] /= step[c]
                step[c] = 1.0
        h.items[first + h.length[user]] = item
        h.length[user] += 1


@kernel()
def _rank(counts: F64, seen: I64, mark: int, item: int) -> int:
    if seen[item] == mark:
        return 0
    x = counts[item]
    if x <= 0:
        return MISS
    rank = 0
    for i in range(len(counts)):
        if counts[i] >= x and seen[i] != mark:
            rank += 1
    return rank
