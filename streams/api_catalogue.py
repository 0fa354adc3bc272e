"""The items that the API knows: items.v1 read whole, without a group, as the workers do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from dashboards.user_lists import ItemWords
from infra.telemetry import get_logger
from streams import topics, whole_topic
from streams.events import Item
from streams.holds import Holds
from streams.intake import Intake, Rejected
from streams.withdrawals import Withdrawals

log = get_logger("api")

RETRY_SECONDS = 2.0


class KnownItems:
    """Titles, topics and availability. An item that it does not know counts as available.

    Args:
        hold_items: whether items in a severe incident are not shown.
    """

    def __init__(self, kafka_url: str, max_items: int, hold_items: bool = False) -> None:
        self._kafka_url = kafka_url
        self._max_items = max_items
        self._words: dict[tuple[str, str], ItemWords] = {}
        self._sold_out: dict[tuple[str, str], None] = {}  # of these, the longest first
        self._unavailable = Withdrawals(max_items)
        self._held: set[tuple[str, str]] = set()
        self._holds = Holds(kafka_url, self.hold) if hold_items else None
        self._intake = Intake()
        self.caught_up = asyncio.Event()

    def words(self, tenant: str, item_id: str) -> ItemWords:
        """Title and topics; its id where we do not know it."""
        return self._words.get((tenant, item_id)) or ItemWords(item_id)

    def may_show(self, tenant: str, item_id: str, topic: str = "", language: str = "") -> bool:
        """Whether the item is available and, where they are asked for, has topic and language."""
        if (tenant, item_id) in self._unavailable or (tenant, item_id) in self._held:
            return False
        if not topic and not language:
            return True
        words = self.words(tenant, item_id)
        return (not topic or topic in words.topics) and language in ("", words.language)

    def shown(self, tenant: str) -> Iterator[tuple[str, ItemWords]]:
        """The tenant's items that may be shown."""
        for (owner, item_id), words in self._words.items():
            if owner == tenant and self.may_show(tenant, item_id):
                yield item_id, words

    def hold(self, tenant: str, item_id: str, held: bool) -> None:
        """Do not show an item, or show it again."""
        (self._held.add if held else self._held.discard)((tenant, item_id))

    async def run(self) -> None:
        """Follow the catalogue and, where they are asked for, the holds."""
        holds = [] if self._holds is None else [self._holds.run()]
        await asyncio.gather(self._catalogue(), *holds)

    async def _catalogue(self) -> None:
        """Follow items.v1 for as long as the API lives; Kafka away only delays it."""
        from aiokafka.errors import KafkaError

        while True:
            try:
                await self._follow()
            except (KafkaError, OSError) as error:
                log.warning("catalogue.away", error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        async for fetched in whole_topic.follow(self._kafka_url, topics.ITEMS, "springtide-api"):
            self.take(fetched.records)
            if fetched.caught_up and not self.caught_up.is_set():
                self.caught_up.set()
                log.info("catalogue.caught_up", items=len(self._words))

    def take(self, records: list[Any]) -> None:
        """Records of items.v1; what cannot be used is the workers' to report."""
        for record in records:
            if record.value is None:  # a tombstone: the item is gone
                tenant, _, item_id = (record.key or b"").decode(errors="replace").partition("/")
                self._withdraw((tenant, item_id))
                continue
            message = self._intake.read(topics.ITEMS, record.value)
            if not isinstance(message, Rejected):
                self._put(message)

    def _put(self, item: Item) -> None:
        key = (item.tenant, item.item_id)
        if item.available:
            self._unavailable.discard(key)
            self._sold_out.pop(key, None)
        else:
            self._unavailable.add(key)
        if key not in self._words and len(self._words) >= self._max_items:
            if not item.available or not self._sold_out:
                return
            oldest = next(iter(self._sold_out))
            del self._sold_out[oldest], self._words[oldest]
        if not item.available:
            self._sold_out.setdefault(key)
        self._words[key] = ItemWords(item.title, item.topics, item.skills, item.language or "")

    def _withdraw(self, key: tuple[str, str]) -> None:
        self._words.pop(key, None)
        self._sold_out.pop(key, None)
        self._unavailable.add(key)
