"""Two members of a group on the real Kafka: Faust as a worker has it, and one that joins late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
)
from aiokafka.protocol.commit import OffsetFetchResponse_v3
from aiokafka.structs import TopicPartition

from infra.local.stack import LocalStack
from infra.security import kafka_servers
from infra.settings import Settings
from streams import batch_consumer, topics
from streams.faust_app import crash_of, faust_app
from streams.group_coordinator import commit_before_join, mend

pytestmark = pytest.mark.kafka

GROUP, LATE_SECONDS = "springtide", 2.0


class Worker:
    """Takes clicks, and acknowledges them when its partitions go, as the last checkpoint does."""

    def __init__(self, url: str, folder: Path, topic: str = topics.CLICKS) -> None:
        self.app = faust_app(Settings(kafka_url=url, data_dir=folder), lambda: self.generation)
        self.generation = 0
        self.held: list[Any] = []
        self.assigned = asyncio.Event()
        self.last: Callable[[], Any] = self._acknowledge
        raw = batch_consumer.RAW
        taken = self.app.topic(
            topic, key_serializer=raw, value_serializer=raw, key_type=None, value_type=None
        )
        self.app.agent(taken, name="hold")(self._hold)
        self.app.on_partitions_assigned.connect(self._assigned, weak=False)
        self.app.on_partitions_revoked.connect(self._revoked, weak=False)

    async def _hold(self, stream: Any) -> None:
        async for event in stream.noack().events():
            if event.value.generation == self.generation:
                self.held.append(event)

    async def _revoked(self, *_: Any, **__: Any) -> None:
        await self.last()
        self.generation += 1
        self.held = []

    async def _acknowledge(self) -> None:
        for event in self.held:
            event.ack()

    async def _assigned(self, *_: Any, **__: Any) -> None:
        self.assigned.set()

    @property
    def coordinator(self) -> Any:
        return self.app.consumer._thread._consumer._coordinator

    def ends(self) -> dict[int, int]:
        """Partition → the offset after the last that is held."""
        found: dict[int, int] = {}
        for event in self.held:
            found[event.value.partition] = event.value.offsets[-1] + 1
        return found

    async def join_again(self) -> None:
        self.assigned.clear()
        self.coordinator.request_rejoin()
        await asyncio.wait_for(self.assigned.wait(), 30)


class Late(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Holds its partitions for a while when they are revoked; the group waits for it."""

    async def on_partitions_revoked(self, revoked: Any) -> None:
        await asyncio.sleep(LATE_SECONDS if revoked else 0)

    def on_partitions_assigned(self, assigned: Any) -> None:
        pass


@asynccontextmanager
async def another(url: str) -> AsyncIterator[None]:
    """A second member of the worker's group."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka_servers(url), group_id=GROUP, enable_auto_commit=False,
        partition_assignment_strategy=[RangePartitionAssignor], heartbeat_interval_ms=200,
    )  # fmt: skip
    await consumer.start()
    consumer.subscribe([topics.CLICKS], listener=Late())
    try:
        yield
    finally:
        await consumer.stop()


@asynccontextmanager
async def clicks(url: str) -> AsyncIterator[None]:
    """A steady stream of them, on every partition."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka_servers(url))

    async def send() -> None:
        number = 0
        while True:
            await producer.send(topics.CLICKS, b"%d" % number, partition=number % topics.PARTITIONS)
            number += 1
            await asyncio.sleep(0.005)

    await producer.start()
    sending = asyncio.create_task(send())
    try:
        yield
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await producer.stop()


@asynccontextmanager
async def working(stack: LocalStack, folder: Path) -> AsyncIterator[Worker]:
    """A worker that has every partition, and something of each in hand."""
    topics.apply(stack.kafka_url)
    worker = Worker(stack.kafka_url, folder)
    async with clicks(stack.kafka_url):
        await worker.app.start()
        try:
            await until(lambda: len(worker.ends()) == topics.PARTITIONS)
            yield worker
        finally:
            await worker.app.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (Faust says it by no event)
            await asyncio.sleep(0.05)


async def committed(worker: Worker) -> dict[int, int]:
    """Partition → offset, as Kafka has it."""
    tps = [tp for tp in worker.app.consumer.assignment() if tp.topic == topics.CLICKS]
    found = await worker.coordinator.fetch_committed_offsets(tps)
    return {tp.partition: at.offset for tp, at in found.items()}


def test_a_commit_that_falls_into_a_join_costs_no_membership(
    stack: LocalStack, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with working(stack, tmp_path) as worker, another(stack.kafka_url):
            await until(lambda: 0 < len(worker.ends()) < topics.PARTITIONS)  # it has its share
            before = worker.app.rebalancing_count
            await worker.join_again()
            await until(lambda: 0 < len(worker.ends()) < topics.PARTITIONS)
            await asyncio.sleep(2 * worker.app.conf.broker_heartbeat_interval)
            assert worker.app.rebalancing_count == before + 1

    asyncio.run(scenario())


def test_what_the_last_checkpoint_acknowledged_is_committed_before_the_join(
    stack: LocalStack, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with working(stack, tmp_path) as worker:
            ends: dict[int, int] = {}

            async def last() -> None:
                await worker._acknowledge()
                ends.update(worker.ends())
                await commit_before_join(worker.app.consumer)

            worker.last = last
            await worker.join_again()
            assert await committed(worker) == ends

    asyncio.run(scenario())


def test_what_an_earlier_assignment_acknowledged_is_not_committed_by_the_next(
    stack: LocalStack, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with working(stack, tmp_path) as worker:
            before = await committed(worker)
            consumer = worker.app.consumer

            async def not_now() -> bool:
                return False

            consumer.commit = not_now  # no interval ends between acknowledgement and join
            await worker.join_again()
            del consumer.commit
            await until(lambda: len(worker.ends()) == topics.PARTITIONS)
            await consumer.commit()
            assert await committed(worker) == before

    asyncio.run(scenario())


def test_a_partition_in_which_nothing_ever_came_is_no_error(
    stack: LocalStack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        topics.apply(stack.kafka_url)
        worker = Worker(stack.kafka_url, tmp_path, topics.USERS)
        await worker.app.start()
        await asyncio.wait_for(worker.assigned.wait(), 30)
        worker.app.consumer._thread.time_started -= worker.app.conf.stream_processing_timeout
        caplog.clear()
        await worker.app.consumer.verify_all_partitions_active()
        assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []
        await worker.app.stop()

    asyncio.run(scenario())


def test_a_coordinator_that_cannot_go_on_is_a_crash_and_a_stop_is_none(
    stack: LocalStack, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with working(stack, tmp_path / "stopped") as worker:
            crash = asyncio.create_task(crash_of(worker.app))
        await asyncio.sleep(0)
        assert not crash.done()
        crash.cancel()

        async def refused() -> None:
            raise GroupAuthorizationFailedError(GROUP)

        async with working(stack, tmp_path / "refused") as worker:
            worker.coordinator.ensure_coordinator_known = refused
            worker.coordinator.request_rejoin()
            with pytest.raises(KafkaError, match="GroupAuthorization"):
                await asyncio.wait_for(crash_of(worker.app), 30)

    asyncio.run(scenario())


def test_metadata_that_nobody_keeps_any_more_are_a_crash(stack: LocalStack, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(stack, tmp_path) as worker:
            client = worker.coordinator._client

            async def not_expected(*_: Any) -> None:
                raise RuntimeError("the handler is closed")

            client._metadata_update = not_expected
            client.force_metadata_update()
            with pytest.raises(RuntimeError, match="the handler is closed"):
                await asyncio.wait_for(crash_of(worker.app), 30)

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [GroupLoadInProgressError, NotCoordinatorForGroupError])
def test_a_coordinator_that_is_loading_is_asked_again(error: Any) -> None:
    here = TopicPartition(topics.CLICKS, 0)
    answers = [
        OffsetFetchResponse_v3(0, [], error.errno),
        OffsetFetchResponse_v3(0, [(here.topic, [(here.partition, 700, "", 0)])], 0),
    ]

    async def scenario() -> None:
        coordinator: Any = object.__new__(GroupCoordinator)
        coordinator.group_id, coordinator.coordinator_id = GROUP, 1
        coordinator._retry_backoff_ms = 1
        coordinator._coordinator_dead_fut = asyncio.get_running_loop().create_future()

        async def send(_request: Any) -> Any:
            return answers.pop(0)

        async def found() -> None:
            coordinator.coordinator_id = 1

        coordinator._send_req, coordinator.ensure_coordinator_known = send, found
        mend(coordinator)
        committed = await coordinator.fetch_committed_offsets([here])
        assert committed[here].offset == 700
        assert coordinator._coordinator_dead_fut.done() == (error is NotCoordinatorForGroupError)

    asyncio.run(scenario())
