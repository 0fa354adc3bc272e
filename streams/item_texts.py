"""item_texts: what the catalogue says of items reaches the learners, a few at a time.

A catalogue of tens of thousands, or an item that is written a thousand times a second, must not
hold up learning: what waits is kept once an item, and the learners get at most a quarter of a core.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from online.content_items import ItemContent
from online.content_terms import terms_of
from online.learner import Learner
from streams.events import Item

AT_ONCE = 8  # items: some milliseconds in a catalogue of ten thousand
REST = 3.0  # times as long as the last few took


def terms_said_by(item: Item) -> tuple[str, list[str]]:
    """Its words, and its tags as `field=value`."""
    single = {"level": item.level, "provider": item.provider_id, "language": item.language}
    tags = [f"topic={each}" for each in item.topics] + [f"skill={each}" for each in item.skills]
    tags += [f"{field}={value}" for field, value in single.items() if value]
    return f"{item.title}. {item.description}", tags


class ItemTexts:
    """Hands on what items say.

    Args:
        learner: the learner of a tenant.
    """

    def __init__(self, learner: Callable[[str], Learner]) -> None:
        self._learner = learner
        self._waiting: dict[tuple[str, str], Item] = {}
        self._more = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Items whose texts no learner has yet."""
        return len(self._waiting)

    def put(self, item: Item, before: Item | None) -> None:
        """Take an item as it is now; `before`: as it was, where it was known."""
        if before is None or terms_said_by(item) != terms_said_by(before):
            self._waiting[(item.tenant, item.item_id)] = item
            self._more.set()

    async def run(self) -> None:
        """Hand on for as long as the worker lives."""
        while True:
            await self._more.wait()
            began = time.perf_counter()
            self._hand_on()
            await asyncio.sleep(REST * (time.perf_counter() - began))

    def _hand_on(self) -> None:
        some = [self._waiting.pop(key) for key in list(self._waiting)[:AT_ONCE]]
        if not self._waiting:
            self._more.clear()
        for tenant in {item.tenant for item in some}:
            theirs = [item for item in some if item.tenant == tenant]
            terms = [terms_of(*terms_said_by(item)) for item in theirs]
            ids = [item.item_id for item in theirs]
            self._learner(tenant).put_content(ItemContent(ids, terms, None))
