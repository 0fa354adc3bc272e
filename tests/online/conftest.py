"""A small stream with all kinds, repeats and dislikes, and learners that are small enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from online.cooccurrence import add_row
from online.learner import Kind, Learned, Learner, LearnerConfig

KINDS = np.array([Kind.CLICK] * 6 + [Kind.PURCHASE, Kind.POSITIVE, Kind.NEUTRAL, Kind.NEGATIVE])


class Stream(NamedTuple):
    """Interactions in order."""

    users: list[str]
    items: list[str]
    kinds: np.ndarray
    times: np.ndarray

    def where(self, keep: np.ndarray) -> Stream:
        """The interactions that `keep` marks."""
        at = np.flatnonzero(keep)
        return Stream(
            [self.users[i] for i in at], [self.items[i] for i in at], self.kinds[at], self.times[at]
        )

    def of(self, *users: str) -> np.ndarray:
        """Which interactions are of these users."""
        return np.isin(self.users, users)

    def learn(self, learner: Learner, batch: int = 10_000, partition: int = 0) -> Learned:
        """Let the learner have it, in batches."""
        parts = [
            learner.learn(
                partition,
                self.users[a : a + batch],
                self.items[a : a + batch],
                self.kinds[a : a + batch],
                self.times[a : a + batch],
            )
            for a in range(0, len(self.users), batch)
        ]
        return Learned(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def make_stream(events: int, users: int = 30, items: int = 150, seed: int = 0) -> Stream:
    """Users who follow themes: item i leads to its neighbours."""
    rng = np.random.default_rng(seed)
    who = rng.integers(users, size=events)
    place = rng.integers(items, size=users)
    what = np.empty(events, np.int64)
    for e, user in enumerate(who):
        if rng.random() < 0.1:
            place[user] = rng.integers(items)
        place[user] = (place[user] + rng.integers(1, 4)) % items
        what[e] = place[user]
    return Stream(
        [f"u{u}" for u in who],
        [f"i{i}" for i in what],
        rng.choice(KINDS, events).astype(np.int8),
        1.7e9 + np.arange(events, dtype=np.float64),
    )


def small(**changes: Any) -> Learner:
    """A learner with narrow factors: quicker, otherwise the same."""
    sizes: dict[str, Any] = {"factors": 16, "negatives": 16, "recent": 512} | changes
    return Learner(LearnerConfig(**sizes))


def learn_pairs(
    learner: Learner, *pairs: str, kind: Kind = Kind.CLICK, partition: int = 0
) -> Learned:
    """Learn "user item" pairs of one kind."""
    users, items = zip(*(pair.split() for pair in pairs), strict=True)
    n = len(pairs)
    return learner.learn(
        partition, users, items, np.full(n, kind, np.int8), np.arange(n, dtype=np.float64)
    )


def read_statistics(learner: Learner) -> dict[tuple[str, ...], float]:
    """Every exact additive statistic that is not zero, by item ids."""
    shared = learner._shared
    model, names = shared.model, [shared.items.name(s) for s in range(shared.items.size)]
    pairs, found = model.pairs, {}
    for slot, name in enumerate(names):
        found["count", name] = float(model.popularity.counts[slot])
        found["out", name] = float(pairs.out[slot])
        c_row, t_row = np.zeros(shared.room, np.float32), np.zeros(shared.room, np.float32)
        add_row(pairs, slot, shared.room, 1.0, 1.0, c_row, t_row)
        for other in np.flatnonzero(c_row):
            found["C", name, names[other]] = float(c_row[other])
            found["T", name, names[other]] = float(t_row[other])
    return {key: value for key, value in found.items() if value}


def list_agreement(learner: Learner, users: int) -> float:
    """Share of the users' ten best by a scan of all items that stand among those by candidates."""
    switches, same = learner._shared.model.switches, 0
    before = switches[0]
    for u in range(users):
        switches[0] = 100_000  # scan
        scanned = learner.top_k(f"u{u}", 10).items
        switches[0] = 0
        same += len(set(scanned) & set(learner.top_k(f"u{u}", 10).items))
    switches[0] = before
    return same / (10 * users)


@pytest.fixture
def stream() -> Stream:
    """1,500 interactions of 30 users with 150 items."""
    return make_stream(1_500)


@pytest.fixture
def learner() -> Learner:
    """A fresh small learner."""
    return small()


@pytest.fixture(scope="session")
def make_learner() -> Callable[..., Learner]:
    """Makes small learners."""
    return small


@pytest.fixture(scope="session")
def new_stream() -> Callable[..., Stream]:
    """Makes streams."""
    return make_stream


@pytest.fixture(scope="session")
def learn() -> Callable[..., Learned]:
    """Learns pairs."""
    return learn_pairs


@pytest.fixture(scope="session")
def statistics() -> Callable[[Learner], dict[tuple[str, ...], float]]:
    """Reads the additive statistics."""
    return read_statistics


@pytest.fixture(scope="session")
def agreement() -> Callable[..., float]:
    """Lists by candidates against lists by a scan."""
    return list_agreement
