"""item_vectors: what a language model makes of items, on item-vectors.v1, read by every worker.

The vectors of two models say nothing about each other, so the learners have those of one: of the
model that most items on the topic have. While a new one works its way through the catalogue its
vectors are counted, not used; once it has more items than the old one, the topic is read again from
its beginning, and the old model's are left out from then on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from typing import Any, NamedTuple

from infra.telemetry import get_logger
from streams import topics, vectors_wire, whole_topic
from streams.batch_consumer import to_batch
from streams.deltas_wire import UnusableError
from streams.events import Item
from streams.item_texts import ItemTexts, Key, spoken_by
from streams.river import River
from streams.vectors_wire import digest_of

log = get_logger("vectors")

NOTHING = 0  # digest of an item that has nothing to read


class Made(NamedTuple):
    """The latest vector of an item: of which model, and of which text."""

    version: str
    text: int


class ItemVectors:
    """What this worker knows of the topic, and which vectors are missing.

    Args:
        texts: takes the vectors for the learners.

    Attributes:
        version: the model whose vectors the learners have; empty before the first.
        asked: the model that the server has, as whoever asks it tells; empty: `version`.
        caught_up: the topic was read to where it ended at the start.
    """

    def __init__(self, river: River, texts: ItemTexts) -> None:
        self._river = river
        self._texts = texts
        self.version = ""
        self.asked = ""
        self.caught_up = asyncio.Event()
        self.more = asyncio.Event()
        self._said: dict[Key, int] = {}
        self._made: dict[Key, Made] = {}
        self._items_of: Counter[str] = Counter()
        self._missing: dict[Key, None] = {}
        self._refused: dict[Key, int] = {}
        self._width = 0
        self._counted = 0
        self._again = False

    def put(self, item: Item) -> None:
        """An item is there, or says something else."""
        key, spoken = (item.tenant, item.item_id), spoken_by(item)
        digest = digest_of(spoken) if spoken else NOTHING
        if self._said.get(key) != digest:
            self._said[key] = digest
            self._look(key)

    def forget(self, key: Key) -> None:
        """An item is gone."""
        for known in (self._said, self._missing, self._refused):
            known.pop(key, None)
        self._tell()

    @property
    def missing(self) -> dict[Key, None]:
        """Items whose text has no vector of the server's model, those that came last at the end."""
        return self._missing

    def sent(self, key: Key, text: int) -> None:
        """The vector of this text is on its way."""
        if self._said.get(key) == text:
            self._missing.pop(key, None)
            self._tell()

    def refused(self, key: Key, text: int) -> None:
        """The server makes nothing of this text."""
        self._refused[key] = text
        self._river.metrics.vectors.labels("refused").inc()
        self._look(key)

    def ask_for(self, version: str) -> None:
        """The server's model is another one: all its vectors are wanted."""
        if version != self.asked:
            self.asked = version
            self.look_again()

    def look_again(self) -> None:
        """Which vectors are missing?"""
        self._missing = {key: None for key in self._said if self._wants(key)}
        self._tell()

    def _look(self, key: Key) -> None:
        self._missing.pop(key, None)
        if self._wants(key):
            self._missing[key] = None
        self._tell()

    def _wants(self, key: Key) -> bool:
        said = self._said.get(key, NOTHING)
        if said in {NOTHING, self._refused.get(key)}:
            return False
        return self._made.get(key) != Made(self.asked or self.version, said)

    def _tell(self) -> None:
        self._river.metrics.without_vector.set(len(self._missing))
        if self._missing:
            self.more.set()

    async def run(self, catalogue: asyncio.Event) -> None:
        """Follow the topic for as long as the worker lives, once the catalogue was read."""
        await catalogue.wait()
        url = self._river.settings.kafka_url.get_secret_value()
        while True:
            self._again = False
            following = whole_topic.follow(url, topics.ITEM_VECTORS, "springtide-vectors")
            async with aclosing(following) as fetching:
                async for fetched in fetching:
                    await self._take_all(fetched.records)
                    if self._again:
                        break
                    if fetched.caught_up and not self.caught_up.is_set():
                        self.look_again()
                        self.caught_up.set()
                        log.info("vectors.caught_up", items=len(self._made), version=self.version)

    async def _take_all(self, records: list[Any]) -> None:
        rejected = []
        for index, record in enumerate(records):
            try:
                self.take(record.key, record.value, record.offset)
            except UnusableError as error:
                rejected.append((index, str(error)))
            if index % 16 == 0:
                await asyncio.sleep(0)  # events come first
            if self._again:
                return
        if rejected:
            await self._river.dead_letter(to_batch(records), rejected)

    def take(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """One record of the topic; read a second time it is not counted again.

        Raises:
            UnusableError: with the reason.
        """
        first, self._counted = offset >= self._counted, max(self._counted, offset + 1)
        if not value:  # a tombstone: the item is gone
            tenant, _, item = (key or b"").decode(errors="replace").partition("/")
            if first:
                self._count((tenant, item), None)
            return
        message, vector = vectors_wire.decode(value)
        name, made = (message.tenant, message.item_id), Made(message.model_version, message.text)
        if not self._river.admits(message.tenant):
            raise UnusableError("too many tenants on this worker")
        self.version = self.version or made.version
        if made.version == self.version:
            self._width = self._width or len(vector)
            if self._width != len(vector):
                raise UnusableError(f"is {len(vector)} wide, others are {self._width}")
        if first:
            self._count(name, made)
        if made.version == self.version and not self._again:
            self._river.metrics.vectors.labels("taken").inc()
            self._texts.put_vector(name, vector)
        else:
            self._river.metrics.vectors.labels("other_model").inc()

    def _count(self, key: Key, made: Made | None) -> None:
        old = self._made.pop(key, None)
        if old is not None:
            self._items_of[old.version] -= 1
        if made is not None:
            if len(self._made) >= self._river.settings.max_items * (1 + len(self._river.learners)):
                raise UnusableError("more vectors than SPRINGTIDE_MAX_ITEMS allows items")
            self._made[key] = made
            self._items_of[made.version] += 1
            if self._items_of[made.version] > self._items_of[self.version]:
                log.info("vectors.version_taken", version=made.version, before=self.version)
                self.version, self._width, self._again = made.version, 0, True
                self._texts.forget_vectors()
        self._look(key)
