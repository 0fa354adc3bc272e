"""What the worker writes to Kafka: returns when every broker replica has it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from infra.security import kafka_client
from infra.telemetry import get_logger
from streams.fatal import or_die

log = get_logger("outlet")

RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
ABANDON_SECONDS = 5.0


class Outgoing(NamedTuple):
    """One record to write; partition None: by the key's hash."""

    topic: str
    key: bytes
    value: bytes | None  # None: a tombstone, upon which compaction removes the key
    partition: int | None = None


class Outlet:
    """An aiokafka producer whose sends wait for the broker, and try again until it answers.

    A record may be written twice after a lost answer; every reader of these topics knows a
    repeat by its source offset or fingerprint. A producer whose tasks have ended is started anew:
    aiokafka's end with the first error that it does not expect, and whoever waits would wait on.
    """

    def __init__(self, kafka_url: str) -> None:
        self._connection = kafka_client(kafka_url)
        self._producer: Any = None
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect."""
        from aiokafka import AIOKafkaProducer

        producer = AIOKafkaProducer(
            **self._connection,
            acks="all",
            linger_ms=2,
            max_request_size=2_000_000,
            client_id="springtide-worker",
        )
        await producer.start()
        self._producer = producer
        self._watching = asyncio.create_task(or_die(self._watch(producer)))

    async def stop(self) -> None:
        """Send what is buffered, then disconnect."""
        if self._watching is not None:
            self._watching.cancel()
        if self._producer is not None:
            await self._producer.stop()

    async def write(self, records: Sequence[Outgoing]) -> None:
        """Write all records in order per partition; returns once all are acknowledged."""
        left = list(records)
        attempt = 0
        while left:
            left = await self._attempt(left)
            if left:
                wait = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
                attempt += 1
                log.warning("outlet.retry", records=len(left), wait_seconds=wait)
                await asyncio.sleep(wait)

    async def _watch(self, producer: Any) -> None:
        """Until one of its tasks ends; then, unless it was stopped, start another one."""
        tasks = producer._sender.sender_task, producer.client._sync_task
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        errors = [task.exception() for task in ended if not task.cancelled()]
        error = next((each for each in errors if each is not None), None)
        if error is not None:
            log.error("outlet.renewed", error=repr(error))
            await _abandon(producer)
            await self._start_again()

    async def _start_again(self) -> None:
        from aiokafka.errors import KafkaError

        while True:
            try:
                return await self.start()
            except KafkaError as away:
                log.warning("outlet.retry", error=repr(away), wait_seconds=RETRY_SECONDS[-1])
                await asyncio.sleep(RETRY_SECONDS[-1])

    async def _attempt(self, records: list[Outgoing]) -> list[Outgoing]:
        """Try every record once; those without an acknowledgement come back."""
        from aiokafka.errors import KafkaError

        futures: list[Any] = []
        for record in records:
            try:
                futures.append(
                    await self._producer.send(
                        record.topic, record.value, key=record.key, partition=record.partition
                    )
                )
            except KafkaError:
                futures.append(None)
        failed = []
        for record, future in zip(records, futures, strict=True):
            try:
                if future is None:
                    failed.append(record)
                else:
                    await future
            except KafkaError as error:
                log.warning("outlet.refused", topic=record.topic, error=type(error).__name__)
                failed.append(record)
        return failed


async def _abandon(producer: Any) -> None:
    """Whoever waits for it gets an error, and tries again with another one."""
    from aiokafka.errors import KafkaError

    error = KafkaError("the producer has ended")
    producer._message_accumulator.fail_all(error)
    client, waited_for = producer.client, producer.client._md_update_fut
    if waited_for is None or waited_for.done():  # who asks for metadata from now on waits for it
        waited_for = client._md_update_fut = asyncio.get_running_loop().create_future()
    waited_for.set_exception(error)
    waited_for.exception()  # nobody need have waited
    if client._sync_task is not None and client._sync_task.done():
        client._sync_task = None  # else its error would keep the connections open
    for close in (producer._sender.close, producer.stop):
        await asyncio.gather(asyncio.wait_for(close(), ABANDON_SECONDS), return_exceptions=True)
