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
from online.prequential_groups import by_events
from online.prequential_items import Publisher
from online.prequential_metrics import summarise
from online.prequential_stream import Stream

BATCH = 250
LIST_SIZE = 50
LISTS_PER_BATCH = 5
VARIANT = "springtide:"  # begins the name of the learner with other settings


class Method(Protocol):
    """Something that ranks and learns a stream from its beginning to its end."""

    @property
    def ranks(self) -> I32:
        """Ranks of what was learned so far, in their place; int32[n]. Final at the end."""

    @property
    def setting(self) -> str:
        """The setting that `ranks` are by, or nothing."""

    @property
    def settings(self) -> dict[str, I32]:
        """Ranks by every setting that ran, `ranks` among them; int32[n] each."""

    def learn(self, start: int, end: int) -> None:
        """Rank, then learn, each interaction from `start` to before `end`."""

    def recommend(self, user: int) -> None:
        """Make a list for a user, as the method would serve it."""


class Springtide:
    """The production learner on a stream; see `Method`."""

    setting = ""

    def __init__(
        self, stream: Stream, config: LearnerConfig | None = None,
        publisher: Publisher | None = None,
    ) -> None:  # fmt: skip
        self._stream = stream
        self._publisher = publisher
        self.learner = Learner(config or LearnerConfig())
        self.ranks: I32 = np.zeros(len(stream), np.int32)

    @property
    def settings(self) -> dict[str, I32]:
        """One for every data set."""
        return {"": self.ranks}

    def learn(self, start: int, end: int) -> None:
        """See `Method`."""
        s = self._stream
        if self._publisher is not None:
            self._publisher.tell(self.learner, end)
        self.ranks[start:end] = self.learner.learn(
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
        ranks: int32[n].
        update_us: CPU time of one interaction of the last half, ranked and learned by one
            setting, training of batch models included; list_us: of one list of 50. CPU time,
            because a busy machine would blur the clock on the wall.
        setting, settings: see `Method`.
    """

    ranks: I32
    update_us: float
    list_us: float
    setting: str
    settings: dict[str, I32]


def evaluate(stream: Stream, method: Method, progress: Callable[[int], None]) -> Evaluated:
    """Run one method over the stream.

    Args:
        progress: called with the number of interactions done since the last call.
    """
    n = len(stream)
    updating = listing = 0.0
    learned = lists = 0
    for start in range(0, n, BATCH):
        end = min(n, start + BATCH)
        began = time.thread_time()
        method.learn(start, end)
        middle = time.thread_time()
        if end > n // 2:  # in the first half kernels are compiled
            learned += end - start
            updating += middle - began
            for user in stream.users[start : end : BATCH // LISTS_PER_BATCH].tolist():
                method.recommend(user)
                lists += 1
            listing += time.thread_time() - middle
        progress(end - start)
    beside = method.settings
    return Evaluated(
        method.ranks,
        1e6 * updating / max(learned * len(beside), 1),
        1e6 * listing / max(lists, 1),
        method.setting,
        beside,
    )


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
                **by_events(stream, found.ranks),
                "update_us": round(found.update_us, 1),
                "list_us": round(found.list_us, 1),
                **_settings(stream, found),
            }
            for name, found in evaluated.items()
        },
    }


def _settings(stream: Stream, found: Evaluated) -> dict[str, Any]:
    """The setting that is reported, and the last half by each."""
    if not found.setting:
        return {}
    each = {
        name: summarise(ranks, stream.users)["last_half"] for name, ranks in found.settings.items()
    }
    return {"setting": found.setting, "settings": each}


def ratios(methods: Mapping[str, Any]) -> dict[str, Any]:
    """How many times the NDCG@10 of others ours is, on the last half: `best_peer` and each peer.

    Args:
        methods: the report's.
    """
    ndcg = {
        name: method["last_half"]["ndcg10"]
        for name, method in methods.items()
        if not name.startswith(VARIANT)
    }
    ours = ndcg.pop("springtide", 0.0)
    each = {name: round(ours / peer, 3) for name, peer in ndcg.items() if peer > 0}
    best = max(ndcg, key=lambda name: ndcg[name], default="")
    return {"best_peer": best, "ndcg10": each}
