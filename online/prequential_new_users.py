"""New users to be evaluated on: what three declared interests bring, by how much a user has done.

Nobody knows what the users of a file would have declared, so an oracle says it: before each event
three tags, drawn at random, of the items that the user takes after it. The item that is ranked is
not among them, and neither are tags that more than a tenth of the items have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from online.arrays import I32, I64
from online.learner import MISS, Learner
from online.prequential_groups import earlier
from online.prequential_items import Publisher
from online.prequential_metrics import clustered_error, gains, hits, mean
from online.prequential_stream import Stream

GROUPS = {"0": (0, 0), "1": (1, 1), "2-4": (2, 4), "5-19": (5, 19)}
METHODS = ("popularity", "without", "with")
MOST_COMMON = 0.1  # share of the items that may have a tag that is declared
BATCH = 250
TOP = 10


class Ranks(NamedTuple):
    """Events of users that had few, from the last half of a stream.

    Attributes:
        users: int32[n]; earlier: int64[n], events that the user had.
        of: method → int32[n], 1-based, MISS beyond the list.
    """

    users: I32
    earlier: I64
    of: dict[str, I32]


class Oracle:
    """Draws interests from what users do later.

    Args:
        tags: of each of the stream's items.
        count: interests a user declares at most.
    """

    def __init__(
        self, stream: Stream, tags: Sequence[Sequence[str]], count: int, seed: int
    ) -> None:
        items_of: dict[str, int] = {}
        for each in tags:
            for tag in dict.fromkeys(each):
                items_of[tag] = items_of.get(tag, 0) + 1
        self._tags = [[t for t in each if items_of[t] < MOST_COMMON * len(tags)] for each in tags]
        self._random = np.random.default_rng(seed)
        self._count = count
        self._later: dict[int, list[int]] = {}
        for user, item in zip(stream.users.tolist(), stream.items.tolist(), strict=True):
            self._later.setdefault(user, []).append(item)

    def interests(self, user: int, earlier: int) -> list[str]:
        """Before the event that follows so many earlier ones; [] where nothing comes after it."""
        after = self._later[user][earlier + 1 :]
        there = list(dict.fromkeys(tag for item in after for tag in self._tags[item]))
        return [there[at] for at in self._random.permutation(len(there))[: self._count]]


def evaluate(
    stream: Stream, publisher: Publisher, tags: Sequence[Sequence[str]], oracle: Oracle,
    learner: Learner, progress: Callable[[int], None],
) -> Ranks:  # fmt: skip
    """Rank the events of users with fewer than 20, with interests and without; learn all.

    Args:
        tags: of each of the stream's items: their topics.
        progress: called with the number of interactions done since the last call.
    """
    had = earlier(stream.users)
    asked: list[int] = []
    ranks: list[tuple[int, int, int]] = []
    first = np.unique(stream.items, return_index=True)[1]
    for start in range(0, len(stream), BATCH):
        end = min(len(stream), start + BATCH)
        publisher.tell(learner, end)
        for item in np.flatnonzero((first >= start) & (first < end)).tolist():
            learner.put_item(stream.item_ids[item], tags[item], True)
        if start < len(stream) // 2:
            _learn(learner, stream, start, end)
        else:
            for at in range(start, end):
                user = stream.user_ids[stream.users[at]]
                item = stream.item_ids[stream.items[at]]
                few = had[at] < GROUPS["5-19"][1] + 1
                said = oracle.interests(int(stream.users[at]), int(had[at])) if few else []
                rank = _rank(learner, user, item, said) if said else MISS
                without, popular = _learn(learner, stream, at, at + 1)
                if said and without > 0:
                    asked.append(at)
                    ranks.append((popular, without, rank))
        progress(end - start)
    of = np.array(ranks, np.int32).reshape(-1, len(METHODS)).T
    return Ranks(stream.users[asked], had[asked], dict(zip(METHODS, of, strict=True)))


def _rank(learner: Learner, user: str, item: str, interests: list[str]) -> int:
    learner.put_profile(0, user, interests, True)
    items = learner.top_k(user, TOP).items
    learner.put_profile(0, user, [], True)
    return items.index(item) + 1 if item in items else MISS


def _learn(learner: Learner, stream: Stream, start: int, end: int) -> tuple[int, int]:
    """Learn; the ranks of the last interaction, by the blend and by popularity."""
    learned = learner.learn(
        0,
        [stream.user_ids[u] for u in stream.users[start:end].tolist()],
        [stream.item_ids[i] for i in stream.items[start:end].tolist()],
        np.zeros(end - start, np.int8),
        stream.times[start:end],
    )
    return int(learned.ranks[-1]), int(learned.popularity_ranks[-1])


def report(ranks: Ranks) -> dict[str, Any]:
    """The JSON object of `springtide evaluate new-users`."""
    groups = {
        name: _group(ranks, (ranks.earlier >= fewest) & (ranks.earlier <= most))
        for name, (fewest, most) in GROUPS.items()
    }
    first = groups["0"]["methods"]
    ratio = {
        name: round(first["with"]["ndcg10"] / first[name]["ndcg10"], 3)
        for name in ("popularity", "without")
        if first[name]["ndcg10"] > 0
    }
    return {
        "oracle": "interests are tags of items that the user takes after the event that is ranked",
        "evaluated": len(ranks.users),
        "by_earlier_events": groups,
        "first_event_ratio": ratio,
    }


def _group(ranks: Ranks, inside: Any) -> dict[str, Any]:
    users = ranks.users[inside]
    of: Mapping[str, I32] = {name: each[inside] for name, each in ranks.of.items()}
    gained = gains(of["with"]) - gains(of["without"])
    return {
        "n": len(users),
        "methods": {
            name: {
                "hr10": round(mean(hits(each)), 6),
                "ndcg10": round(mean(gains(each)), 6),
                "ndcg10_se": round(clustered_error(gains(each), users), 6),
            }
            for name, each in of.items()
        },
        "gained_ndcg10": round(mean(gained), 6),
        "gained_ndcg10_se": round(clustered_error(gained, users), 6),
    }
