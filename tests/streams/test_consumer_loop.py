"""Handing over what was fetched; with Faust and a broker it is proved in integration."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from streams import consumer_loop

TP0 = TP("clicks.v1", 0)


class Consumer:
    """As much of Faust's consumer as the reading loop asks for."""

    consumer_stopped_errors = ()

    def __init__(self, fetches: list[list[tuple[int, int]]]) -> None:
        self.fetches = fetches
        self.handed: list[int] = []
        self.gaps: list[tuple[int, int]] = []
        self.room = asyncio.Event()
        self.room.set()
        self.suspend_flow, self._stopped, self._crashed = (asyncio.Event() for _ in range(3))
        self._read_offset: dict[TP, int | None] = defaultdict(lambda: None)
        self.app = SimpleNamespace(topics=SimpleNamespace(acks_enabled_for=lambda _topic: True))
        self.transport = SimpleNamespace(app=SimpleNamespace(should_stop=False))

    @property
    def should_stop(self) -> bool:
        return not self.fetches

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        assert timeout > 0
        for first, last in self.fetches.pop(0):
            yield TP0, SimpleNamespace(batch_first=first, offset=last)

    async def callback(self, message: Any) -> None:
        await self.room.wait()
        self.handed.append(message.offset)

    async def _add_gap(self, _tp: TP, first: int, last: int) -> None:
        self.gaps.append((first, last))


def fetcher() -> Any:
    return SimpleNamespace(should_stop=False)


def test_in_order_and_nothing_twice() -> None:
    consumer = Consumer([[(3, 5), (6, 9)], [(6, 9), (10, 10)]])
    asyncio.run(consumer_loop.drain(consumer, fetcher()))
    assert consumer.handed == [5, 9, 9, 10], "the last one again: Faust does the same"
    assert consumer.gaps == []


def test_what_compaction_took_is_a_gap_before_the_batch() -> None:
    consumer = Consumer([[(3, 5)], [(9, 12)]])
    asyncio.run(consumer_loop.drain(consumer, fetcher()))
    assert consumer.gaps == [(6, 8)]


def test_a_full_agent_holds_the_loop_until_it_has_room() -> None:
    async def run() -> None:
        consumer = Consumer([[(0, 1)]])
        consumer.room.clear()
        draining = asyncio.create_task(consumer_loop.drain(consumer, fetcher()))
        await asyncio.sleep(0.05)
        assert not draining.done()
        consumer.room.set()
        await draining
        assert consumer.handed == [1]

    asyncio.run(run())


def test_a_suspended_flow_does_not_wait_for_a_full_agent() -> None:
    async def run() -> None:
        consumer = Consumer([[(0, 1), (2, 3)]])
        consumer.room.clear()
        draining = asyncio.create_task(consumer_loop.drain(consumer, fetcher()))
        await asyncio.sleep(0.01)
        consumer.suspend_flow.set()
        await asyncio.wait_for(draining, 1)
        assert consumer.handed == []
        assert consumer._read_offset[TP0] is None, "it counts as read, though nobody has it"

    asyncio.run(run())
