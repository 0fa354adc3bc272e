"""item_texts: what items say of themselves, and what a model made of it, reaches the learners.

A catalogue of tens of thousands, or an item that is written a thousand times a second, must not
hold up learning: what waits is kept once an item, those that came last go first, what takes long
runs in a thread, and all of it has at most half a core.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from online.arrays import F32
from online.content_items import ItemContent
from online.content_terms import script_of, terms_of
from online.learner import Learner
from streams.events import Item
from streams.in_turn import in_turn

AT_ONCE = 8  # items: some milliseconds in a catalogue of ten thousand
REST = 1.0  # times as long as the last few took
EACH_SECONDS = 0.2  # an item that is written all the time is not taken over more often
MOST_SPOKEN = 1_000  # characters that a language model is told
EARLY = 10_000  # vectors that came before their items

Key = tuple[str, str]  # tenant, item


def terms_said_by(item: Item) -> tuple[str, list[str]]:
    """Its words, and its tags as `field=value`."""
    single = {"level": item.level, "provider": item.provider_id, "language": item.language}
    tags = [f"topic={each}" for each in item.topics] + [f"skill={each}" for each in item.skills]
    tags += [f"{field}={value}" for field, value in single.items() if value]
    return f"{item.title}. {item.description}", tags


def spoken_by(item: Item) -> str:
    """What a language model reads of it: the title, topics and skills, then the description.

    Empty where there is no letter and no digit: nothing to read.
    """
    tags = ", ".join(each.replace("-", " ") for each in (*item.topics, *item.skills))
    said = ". ".join(filter(None, (item.title, tags, item.description[:MOST_SPOKEN])))
    said = said[:MOST_SPOKEN]
    return said if any(map(str.isalnum, said)) else ""


class Seldom:
    """Picks what waits, nothing more often than once in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._picked: dict[Key, float] = {}  # the oldest first

    def pick(self, waiting: dict[Key, None], most: int) -> list[Key]:
        """At most so many, the last of those that wait first."""
        now = time.monotonic()
        while self._picked and next(iter(self._picked.values())) < now - self._seconds:
            del self._picked[next(iter(self._picked))]
        fresh = (key for key in reversed(waiting) if key not in self._picked)
        picked = list(itertools.islice(fresh, most))
        self._picked |= dict.fromkeys(picked, now)
        return picked


class ItemTexts:
    """Hands on what items say.

    Args:
        learner: the learner of a tenant.
        item: an item as it is now; None: the catalogue does not have it.
    """

    def __init__(
        self, learner: Callable[[str], Learner], item: Callable[[Key], Item | None]
    ) -> None:
        self._learner = learner
        self._item = item
        self._waiting: dict[Key, None] = {}
        self._vectors: dict[Key, F32] = {}
        self._early: dict[Key, F32] = {}
        self._put_off: set[Key] = set()
        self._seldom = Seldom(EACH_SECONDS)
        self._at_work = 0
        self._restarted: set[str] = set()
        self._tenants: set[str] = set()
        self._more = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Items of which no learner has yet what they say."""
        return len(self._waiting) + self._at_work

    def put(self, item: Item, before: Item | None) -> None:
        """An item is there, or says something else; `before`: as it was, where it was known."""
        key = (item.tenant, item.item_id)
        if (early := self._early.pop(key, None)) is not None:
            self._vectors[key] = early
        if before is None or terms_said_by(item) != terms_said_by(before):
            self._wait(key)

    def put_vector(self, key: Key, vector: F32) -> None:
        """What a model made of an item, float32[d]."""
        if self._item(key) is not None:
            self._vectors[key] = vector
            self._wait(key)
        elif len(self._early) < EARLY:
            self._early[key] = vector

    def may_be_shown(self, key: Key) -> None:
        """What an item says is wanted, if it was put off while nobody could have it."""
        if key in self._put_off:
            self._wait(key)

    def forget(self, key: Key) -> None:
        """An item is gone."""
        self._put_off.discard(key)
        for known in (self._waiting, self._vectors, self._early):
            known.pop(key, None)

    def forget_vectors(self) -> None:
        """The vectors of another model follow."""
        self._vectors.clear()
        self._early.clear()
        self._restarted |= self._tenants
        self._more.set()

    def _wait(self, key: Key) -> None:
        self._put_off.discard(key)
        self._waiting.pop(key, None)
        self._waiting[key] = None
        self._more.set()

    async def run(self) -> None:
        """Hand on for as long as the worker lives."""
        while True:
            await self._more.wait()
            began = time.perf_counter()
            if not await self._hand_on():
                await asyncio.sleep(EACH_SECONDS / 10)
            await asyncio.sleep(REST * (time.perf_counter() - began))

    async def _hand_on(self) -> int:
        """Some of those that wait; how many."""
        while self._restarted:
            self._learner(self._restarted.pop()).content.forget_embeddings()
        some = self._seldom.pick(self._waiting, AT_ONCE)
        self._at_work = len(some)
        for key in some:
            del self._waiting[key]
        if not self._waiting:
            self._more.clear()
        of_tenant: dict[str, list[Item]] = defaultdict(list)
        for key in some:
            if (item := self._item(key)) is None:
                continue
            if self._learner(item.tenant).content.waits(item.item_id):
                self._put_off.add(key)  # its vector stays
            else:
                of_tenant[item.tenant].append(item)
        for tenant, items in of_tenant.items():
            self._tenants.add(tenant)
            content = self._learner(tenant).content
            for part in self._contents(items):
                await in_turn(content.putting(part))
        self._at_work = 0
        return len(some)

    def _contents(self, items: Sequence[Item]) -> list[ItemContent]:
        """Those with a new vector, and those whose vector, if they have one, stays."""
        vectors: list[F32] = []
        found: tuple[list[Item], list[Item]] = [], []
        for item in items:
            vector = self._vectors.pop((item.tenant, item.item_id), None)
            if vector is None:
                found[0].append(item)
            else:
                found[1].append(item)
                vectors.append(vector)
        return [
            ItemContent(
                [each.item_id for each in some],
                [terms_of(*terms_said_by(each)) for each in some],
                embeddings,
                np.array([script_of(each.title or spoken_by(each)) for each in some], np.uint8),
            )
            for some, embeddings in zip(found, (None, np.array(vectors)), strict=True)
            if some
        ]
