"""A contest: one peer on a stream, under the rules that hold for the learner.

A peer may come with several settings. They run side by side to the end, and the one is reported
that has, in hindsight, the highest HR@10 + NDCG@10 on the last half: the peer is favoured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np

from online.arrays import F32, I32, I64
from online.blend import MISS
from online.kernels import kernel
from online.peers.past import BatchPeer, Past, Peer
from online.prequential_metrics import gains, hits
from online.prequential_stream import Stream
from online.topk import select

LIST_SIZE = 50
CUTS = 20


class Contest:
    """See `online.prequential.Method`.

    Args:
        peers: a description of a setting, and the peer that has it.
    """

    def __init__(self, stream: Stream, peers: Mapping[str, Peer]) -> None:
        n, items = len(stream), len(stream.item_ids)
        self._stream = stream
        self._past = Past(stream)
        self._peers = list(peers.values())
        self._settings = list(peers)
        self._ranks = np.zeros((len(peers), n), np.int32)
        self._cuts = set(np.linspace(0, n, CUTS + 1).astype(int)[1:-1].tolist()) - {0}
        self._scores = np.zeros(items, np.float32)
        self._marks = np.full(items, -1, np.int64)
        self._mark = 0

    @property
    def ranks(self) -> I32:
        """Ranks by the best setting; int32[n]."""
        return cast(I32, self._ranks[self._best()])

    @property
    def setting(self) -> str:
        """The best setting."""
        return self._settings[self._best()]

    @property
    def settings(self) -> dict[str, I32]:
        """Ranks by every setting."""
        return dict(zip(self._settings, self._ranks, strict=True))

    def learn(self, start: int, end: int) -> None:
        """See `online.prequential.Method`."""
        s, past = self._stream, self._past
        pairs = zip(s.users[start:end].tolist(), s.items[start:end].tolist(), strict=True)
        for e, (user, item) in enumerate(pairs, start):
            if e in self._cuts:
                self._train(e)
            for at, peer in enumerate(self._peers):
                self._ranks[at, e] = self._rank(peer, user, item)
                peer.learn(user, item, past)
            past.add(user, item)

    def recommend(self, user: int) -> None:
        """See `online.prequential.Method`."""
        self._peers[0].score(user, self._past, self._scores)
        self._scores[self._past.history(user)] = -np.inf
        found, best = np.zeros(LIST_SIZE, np.int32), np.zeros(LIST_SIZE, np.float32)
        select(len(self._scores), self._scores, found, best)

    def _best(self) -> int:
        last = self._ranks[:, self._ranks.shape[1] // 2 :]
        ranked = [r[r > 0] for r in last]
        return int(np.argmax([(hits(r) + gains(r)).sum() for r in ranked]))

    def _train(self, done: int) -> None:
        users, items = self._stream.users[:done], self._stream.items[:done]
        for peer in self._peers:
            if hasattr(peer, "train"):
                cast(BatchPeer, peer).train(users, items, self._past)

    def _rank(self, peer: Peer, user: int, item: int) -> int:
        if not self._past.counts[item]:
            return MISS
        self._mark += 1
        peer.score(user, self._past, self._scores)
        history = self._past.history(user)
        return int(rank(self._scores, self._past.counts, history, self._marks, self._mark, item))


@kernel()
def rank(scores: F32, counts: F32, history: I32, marks: I64, mark: int, item: int) -> int:
    """Rank of an item among those seen and not in the history, ties against it.

    Args:
        marks: int64[items], scratch, all other than `mark`.

    Returns:
        1-based; 0 if the user has the item, MISS if its score is not finite.
    """
    for taken in history:
        marks[taken] = mark
    if marks[item] == mark:
        return 0
    x = scores[item]
    if not np.isfinite(x):
        return MISS
    found = 0
    for i in range(len(scores)):
        if scores[i] >= x and counts[i] > 0 and marks[i] != mark:
            found += 1
    return found
