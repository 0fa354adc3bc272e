"""catalog: items.v1, read whole by every worker.

A Faust consumer group would give the topic's partition to one worker only, so this is a consumer
without a group: it starts at the beginning each time, and readiness waits until it has caught up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from infra.telemetry import get_logger
from streams import topics, whole_topic
from streams.batch_consumer import to_batch
from streams.events import Item
from streams.explore import Exploration
from streams.intake import Rejected, is_tenant
from streams.item_texts import ItemTexts, Key
from streams.item_vectors import ItemVectors
from streams.river import River
from streams.withdrawals import Withdrawals

log = get_logger("catalog")


class Catalog:
    """The items known to this worker, handed on to the learners."""

    def __init__(self, river: River, exploration: Exploration | None = None) -> None:
        self._river = river
        self._exploration = exploration or Exploration(river)
        self._items: dict[tuple[str, str], Item] = {}
        self._sold_out: dict[Key, None] = {}  # of these, the longest first
        self._held: set[tuple[str, str]] = set()
        self._most = river.settings.max_items
        self._withdrawn = Withdrawals(self._most)
        self.caught_up = asyncio.Event()
        self.texts = ItemTexts(river.learner, self.item)
        self.vectors = ItemVectors(river, self.texts)
        self.on_withdrawn: Callable[[Key], None] | None = None

    def item(self, key: Key) -> Item | None:
        """An item as it is now, by its tenant and id."""
        return self._items.get(key)

    def may_show(self, tenant: str, item_id: str) -> bool:
        """Whether lists may show an item; one that nobody described may be shown."""
        key = (tenant, item_id)
        item = self._items.get(key)
        return key not in self._held and (item.available if item else key not in self._withdrawn)

    def topics(self, tenant: str, item_id: str) -> tuple[str, ...]:
        """Topics of an item; none where the catalogue does not know it."""
        item = self._items.get((tenant, item_id))
        return item.topics if item else ()

    def title(self, tenant: str, item_id: str) -> str:
        """Title of an item, its id where the catalogue does not know it."""
        item = self._items.get((tenant, item_id))
        return item.title if item else item_id

    def hold(self, tenant: str, item_id: str, held: bool) -> None:
        """Keep an item out of the lists, or let it back where it is available."""
        key = (tenant, item_id)
        (self._held.add if held else self._held.discard)(key)
        self._river.metrics.held.set(len(self._held))
        if self._river.admits(tenant):
            available = self.may_show(tenant, item_id)
            self._tell(key, self.topics(tenant, item_id), available)

    async def run(self) -> None:
        """Follow items.v1, and hand on what items say, for as long as the worker lives."""
        await asyncio.gather(self._follow(), self.vectors.run(self.caught_up), self._hand_on())

    async def _hand_on(self) -> None:
        await self.vectors.caught_up.wait()  # with its vector an item is placed once
        await self.texts.run()

    async def _follow(self) -> None:
        url = self._river.settings.kafka_url.get_secret_value()
        async for fetched in whole_topic.follow(url, topics.ITEMS, "springtide-catalog"):
            if fetched.records:
                await self._take(fetched.records)
            if fetched.caught_up and not self.caught_up.is_set():
                self.caught_up.set()
                log.info("catalog.caught_up", items=len(self._items))

    async def _take(self, records: list[Any]) -> None:
        rejected = []
        for index, record in enumerate(records):
            if record.value is None:  # a tombstone: the item is gone
                self._withdraw((record.key or b"").decode(errors="replace"))
                continue
            message = self._river.intake.read(topics.ITEMS, record.value)
            if isinstance(message, Rejected):
                rejected.append((index, message.reason))
            elif not self._river.admits(message.tenant):
                rejected.append((index, "too many tenants on this worker"))
            else:
                self._put(message)
        await self._river.dead_letter(to_batch(records), rejected)

    def _put(self, item: Item) -> None:
        key = (item.tenant, item.item_id)
        before = self._items.get(key)
        if before is None and item.available and len(self._items) >= self._most and self._sold_out:
            self._forget(next(iter(self._sold_out)))
        if before is not None or len(self._items) < self._most:
            self._items[key] = item
            self.texts.put(item, before)
            self.vectors.put(item)
            if item.available:
                self._sold_out.pop(key, None)
            else:
                self._sold_out.setdefault(key)
        if item.available or key in self._items:
            self._withdrawn.discard(key)
        else:
            self._withdrawn.add(key)
        self._exploration.offer(item, arrived=before is None and self.caught_up.is_set())
        available = item.available and key not in self._held
        self._tell(key, item.topics, available)

    def _tell(self, key: Key, about: Sequence[str], available: bool) -> None:
        tenant, item_id = key
        self._river.learner(tenant).put_item(item_id, about, available)
        if available:
            self.texts.may_be_shown(key)

    def _withdraw(self, key: str) -> None:
        tenant, _, item_id = key.partition("/")
        self._exploration.withdraw(tenant, item_id)
        if (tenant, item_id) in self._items:
            self._forget((tenant, item_id))
        elif not is_tenant(tenant) or not self._river.admits(tenant):
            return
        self._withdrawn.add((tenant, item_id))
        self._river.learner(tenant).withdraw_item(item_id)

    def _forget(self, key: Key) -> None:
        """Of an item nothing is remembered but that it is not to be had."""
        del self._items[key]
        self._sold_out.pop(key, None)
        self.texts.forget(key)
        self.vectors.forget(key)
        self._withdrawn.add(key)
        if self.on_withdrawn is not None:
            self.on_withdrawn(key)
