"""The acknowledgement rule of the agents, on a stream of this test's own.

The same on Faust and the real Kafka, with rebalances and kill -9: tests/integration.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

from infra.metrics import WorkerMetrics
from infra.settings import Settings
from infra.warehouse import ArchiveWriter
from streams.batch_consumer import Batch
from streams.partition import PartitionState
from streams.river import River, agent


def new_river() -> River:
    nowhere: Any = None  # no sink is reached in these tests
    return River(
        Settings(),
        WorkerMetrics(CollectorRegistry()),
        nowhere,
        ArchiveWriter("clickhouse://127.0.0.1:9/default"),
        nowhere,
        nowhere,
    )


def batch(first: int, generation: int = 0) -> Batch:
    return Batch("comments.v1", 0, [first], [None], [b""], [0], generation=generation)


class Stream:
    """Gives its batches at once, then waits for ever, as a Faust stream does."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches

    def noack(self) -> Stream:
        return self

    async def events(self) -> AsyncIterator[Any]:
        for each in self._batches:
            yield SimpleNamespace(value=each, message=SimpleNamespace(value=each))
        await asyncio.Event().wait()


async def run(body: Any, done: asyncio.Event) -> None:
    task = asyncio.create_task(body)
    await asyncio.wait_for(done.wait(), 5)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_batches_gather_while_the_agent_is_busy() -> None:
    async def scenario() -> list[int]:
        river, rounds, done = new_river(), [], asyncio.Event()

        async def handle(batches: Sequence[Batch]) -> None:
            rounds.append(sum(len(each.offsets) for each in batches))
            await asyncio.sleep(0.01)
            if sum(rounds) == 21:
                done.set()

        stream = Stream([batch(at) for at in range(21)])
        await run(agent(river, handle, most=8, gathered=64)(stream), done)
        assert sum(count for _, count in river.unacknowledged) == 21
        return rounds

    rounds = asyncio.run(scenario())
    assert max(rounds) == 8 and len(rounds) <= 5


class OneATurn(Stream):
    """Lets the loop turn before each batch, as Faust's own stream does."""

    async def events(self) -> AsyncIterator[Any]:
        for each in self._batches:
            await asyncio.sleep(0)
            yield SimpleNamespace(value=each, message=SimpleNamespace(value=each))
        await asyncio.Event().wait()


def test_what_a_poll_brought_is_handled_at_once() -> None:
    async def scenario() -> list[int]:
        river, rounds, done = new_river(), [], asyncio.Event()

        async def handle(batches: Sequence[Batch]) -> None:
            rounds.append(len(batches))
            done.set()

        stream = OneATurn([batch(at) for at in range(4)])
        await run(agent(river, handle, most=128, gathered=4)(stream), done)
        return rounds

    assert asyncio.run(scenario()) == [4]


def test_nothing_of_an_earlier_assignment_is_handled_or_acknowledged() -> None:
    async def scenario() -> tuple[list[int], int]:
        river, handled, done = new_river(), [], asyncio.Event()

        async def handle(batches: Sequence[Batch]) -> None:
            handled.extend(each.offsets[0] for each in batches)
            await asyncio.sleep(0)  # the reader runs ahead meanwhile
            await asyncio.sleep(0)
            river.new_generation()
            done.set()

        await run(agent(river, handle)(Stream([batch(0), batch(1), batch(2)])), done)
        return handled, len(river.unacknowledged)

    handled, unacknowledged = asyncio.run(scenario())
    assert handled == [0]  # the others were delivered before partitions were handed out anew
    assert unacknowledged == 0  # nor is the first: its handler may have stopped half-way


def test_what_faust_still_held_is_not_taken_for_new() -> None:
    async def scenario() -> list[int]:
        river, handled, done = new_river(), [], asyncio.Event()

        async def handle(batches: Sequence[Batch]) -> None:
            handled.extend(each.offsets[0] for each in batches)
            if handled == [0]:
                river.new_generation()  # 1 and 2 were fetched; 2 is read afterwards
            if 2 in handled:
                done.set()

        fetched = [batch(0), batch(1), batch(2), *(batch(at, generation=1) for at in (1, 2))]
        await run(agent(river, handle)(OneATurn(fetched)), done)
        return handled

    assert asyncio.run(scenario()) == [0, 1, 2], "2 before 1 would make 1 look learned"


def test_a_partition_that_went_elsewhere_holds_nobody_up() -> None:
    async def scenario() -> tuple[PartitionState | None, PartitionState | None]:
        river = new_river()
        waiting = asyncio.create_task(river.partition(batch(0)))
        await asyncio.sleep(0)
        river.new_generation()
        gone = await asyncio.wait_for(waiting, 5)
        waiting = asyncio.create_task(river.partition(batch(0, generation=1)))
        await asyncio.sleep(0)
        river.partition_loaded(PartitionState(0, epoch=1))
        return gone, await asyncio.wait_for(waiting, 5)

    gone, loaded = asyncio.run(scenario())
    assert gone is None
    assert loaded is not None and loaded.partition == 0
