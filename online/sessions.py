"""The learner of sessions: what comes next in a session of somebody whom we do not know.

Component 5 of the learner (VMIS-kNN postings, repeats), tied factors, and a blend of its own.
`rank` measures prefixes against what is learned so far; `learn` takes a block of visits in.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from online import sessions_blend as bl
from online import sessions_factors as fa
from online.arrays import F32, I32, I64, U8
from online.kernels import kernel
from online.sessions_candidates import Votes, add_best, find_place, new_votes
from online.sessions_index import SessionIndex, add_visits, inverse_frequencies, new_index
from online.sessions_neighbours import gather_votes
from online.sessions_stream import SessionStream

AT_ONCE = 64  # prefixes whose factor scores are one matrix product
RARITY_EVERY = 1000  # visits learned before rarities are computed anew


class SessionConfig(msgspec.Struct, frozen=True):
    """Sizes and rates.

    Attributes:
        factors: d; negatives: a step; nearest: items that the factors propose.
        epochs: steps of the factors for every visit learned.
    """

    factors: int = 64
    negatives: int = 64
    nearest: int = 200
    epochs: int = 2
    factor_rate: float = 0.05
    blend_rate: float = 0.003
    seed: int = 0


class Queries(NamedTuple):
    """Prefixes, and what came next.

    Attributes:
        sessions: int32[n]; targets: int32[n], items.
        start: int64[n], length: int32[n], where in `items` the prefix is.
        items: int32[·], sessions in a row.
    """

    sessions: I32
    targets: I32
    start: I64
    length: I32
    items: I32

    def part(self, begin: int, end: int) -> Queries:
        """Views of some of them."""
        return Queries(
            self.sessions[begin:end],
            self.targets[begin:end],
            self.start[begin:end],
            self.length[begin:end],
            self.items,
        )


class SessionLearner:
    """Learns the visits of one stream in blocks, and ranks prefixes in between."""

    def __init__(self, stream: SessionStream, config: SessionConfig = SessionConfig()) -> None:  # noqa: B008 (frozen)
        items, sessions = len(stream.item_ids), len(stream.start) - 1
        self.config = config
        self._stream = stream
        self._index = new_index(stream)
        self._factors = fa.new_tied_factors(items, config.factors, config.negatives, config.seed)
        self._votes = new_votes(items, sessions)
        self._blend = bl.new_session_blend(items)
        self._serving = self._blend.weights.copy()
        self._best = np.zeros(2 * config.nearest, np.int32)
        self._kept = np.zeros(2 * config.nearest, np.float32)
        self._stale = 0

    def serve_newest_weights(self) -> None:
        """From now on rank by the blend's weights as they are now."""
        self._serving[:] = self._blend.weights

    def rank(self, queries: Queries, allowed: U8) -> I32:
        """Rank what came next after each prefix, and learn the blend's weights from it.

        Args:
            allowed: uint8[items], items that the factors may propose.

        Returns:
            int32[n], 1 for the first; MISS where it is no candidate.
        """
        ranks = np.zeros(len(queries.sessions), np.int32)
        f = self._factors
        x = np.zeros((AT_ONCE, self.config.factors), np.float32)
        for begin in range(0, len(ranks), AT_ONCE):
            part = queries.part(begin, begin + AT_ONCE)
            n = len(part.sessions)
            fa.session_vectors(f, part.items, part.start, part.length, x)
            scores = x[:n] @ f.e.T
            rank_queries(
                self._index, self._votes, self._blend, self._serving, part, scores, f.bias,
                allowed, self._best, self._kept, self.config.blend_rate, ranks[begin : begin + n],
            )  # fmt: skip
        return ranks

    def learn(self, begin: int, end: int) -> None:
        """Take in the stream's visits from `begin` to before `end`."""
        s = self._stream
        add_visits(self._index, s.sessions[begin:end], s.items[begin:end])
        self._stale += end - begin
        if self._stale >= RARITY_EVERY:
            inverse_frequencies(self._index, self._votes.rarity)
            self._stale = 0
        steps = self.config.epochs * (end - begin)
        fa.learn_block(
            self._factors, self._index, s.sessions, s.items, s.position, begin, end, steps,
            self.config.factor_rate,
        )  # fmt: skip


@kernel()
def rank_queries(
    x: SessionIndex, v: Votes, b: bl.SessionBlend, serving: F32, queries: Queries, scores: F32,
    bias: F32, allowed: U8, best: I32, kept: F32, rate: float, ranks: I32,
) -> None:  # fmt: skip
    """See SessionLearner.rank; scores: float32[n, items], of the factors without their bias."""
    for q in range(len(queries.sessions)):
        start = queries.start[q]
        prefix = queries.items[start : start + queries.length[q]]
        near = scores[q]
        for i in range(len(near)):
            near[i] += bias[i]
        count = gather_votes(x, prefix, queries.sessions[q], v)
        count = add_best(v, count, near, allowed, best, kept)
        bl.compute_features(b, v, count, x, prefix, near)
        bucket = min(len(prefix), bl.BUCKETS) - 1
        place = find_place(v, count, queries.targets[q])
        bl.score(b, serving[bucket], count)
        ranks[q] = bl.rank_among(b.scores, count, place)
        bl.score(b, b.weights[bucket], count)
        if bl.rank_among(b.scores, count, place) <= bl.LEARN_FROM_RANK:
            bl.learn_weights(b, bucket, count, place, rate)
