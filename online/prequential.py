"""Prequential evaluation: every interaction is ranked first and learned afterwards.

The rules, the same for every method: rank all items seen so far, except those that the user
already has; an item never seen and a score that is not finite are misses; ties count against the
method. The production learner is measured as it runs: by the ranks that `Learner.learn` returns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from online.arrays import I32
from online.learner import Learner, LearnerConfig
from online.prequential_metrics import summarise
from online.prequential_stream import Stream

BATCH = 250
LIST_SIZE = 50
LISTS_PER_BATCH = 5


class Method(Protocol):
    """Something that ranks and learns a stream from its beginning to its end."""

    def learn(self, start: int, end: int) -> I32:
        """Rank, then learn, each interaction from `start` to before `end`; int32[end - start]."""

    def recommend(self, user: int) -> None:
        """Make a list for a user, as the method would serve it."""


class Springtide:
    """The production learner on a stream."""

    def __init__(self, stream: Stream, config: LearnerConfig | None = None) -> None:
        self._stream = stream
        self.learner = Learner(config or LearnerConfig())

    def learn(self, start: int, end: int) -> I32:
        """See `Method`."""
        s = self._stream
        return self.learner.learn(
            0,
            [s.user_ids[u] for u in s.users[start:end].tolist()],
            [s.item_ids[i] for i in s.items[start:end].tolist()],
            np.zeros(end - start, np.int8),
            s.times[start:end],
        ).ranks

    def recommend(self, user: int) -> None:
        """See `Method`."""
        self.learner.top_k(self._stream.user_ids[user], LIST_SIZE)


class Evaluated(NamedTuple):
    """A method's ranks, and what they cost.

    Attributes:
        ranks: int32[n]; update_us: CPU time of one interaction, ranked and learned; list_us: of
            one list of 50. CPU time, because a busy machine would blur the clock on the wall.
    """

    ranks: I32
    update_us: float
    list_us: float


def evaluate(stream: Stream, method: Method, progress: Callable[[int], None]) -> Evaluated:
    """Run one method over the stream.

    Args:
        progress: called with the number of interactions done since the last call.
    """
    n = len(stream)
    ranks = np.zeros(n, np.int32)
    updating = listing = 0.0
    lists = 0
    for start in range(0, n, BATCH):
        end = min(n, start + BATCH)
        began = time.thread_time()
        ranks[start:end] = method.learn(start, end)
        learned = time.thread_time()
        for user in stream.users[start : end : max(1, BATCH // LISTS_PER_BATCH)].tolist():
            method.recommend(user)
            lists += 1
        updating += learned - began
        listing += time.thread_time() - learned
        progress(end - start)
    return Evaluated(ranks, 1e6 * updating / max(n, 1), 1e6 * listing / max(lists, 1))


def report(stream: Stream, evaluated: Mapping[str, Evaluated]) -> dict[str, Any]:
    """The JSON object of `springtide evaluate lists`."""
    return {
        "events": len(stream),
        "repeats": stream.repeats,
        "users": len(stream.user_ids),
        "items": len(stream.item_ids),
        "methods": {
            name: {
                **summarise(found.ranks, stream.users),
                "update_us": round(found.update_us, 1),
                "list_us": round(found.list_us, 1),
            }
            for name, found in evaluated.items()
        },
    }
