"""What the worker writes to Kafka: returns when every broker replica has it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from infra.security import kafka_client
from infra.telemetry import get_logger

log = get_logger("outlet")

RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


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
    aiokafka's end with the first error that it does not expect, and every later send fails.
    """

    def __init__(self, kafka_url: str) -> None:
        self._connection = kafka_client(kafka_url)
        self._producer: Any = None
        self._renewing = asyncio.Lock()

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

    async def stop(self) -> None:
        """Send what is buffered, then disconnect."""
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
                await self._renew_if_ended()

    async def _renew_if_ended(self) -> None:
        from aiokafka.errors import KafkaError

        async with self._renewing:  # several may find it ended
            old = self._producer
            error = _ended_with(old)
            if error is None:
                return
            log.error("outlet.renewed", error=repr(error))
            # Whoever waits for the old one gets an error, and tries again.
            old._message_accumulator.fail_all(KafkaError(repr(error)))
            await asyncio.gather(old._sender.close(), return_exceptions=True)
            await asyncio.gather(old.stop(), return_exceptions=True)
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


def _ended_with(producer: Any) -> BaseException | None:
    """What a task of the producer's could not go on after; None: they go on, or were stopped."""
    for task in (producer._sender.sender_task, producer.client._sync_task):
        if task is not None and task.done() and not task.cancelled() and task.exception():
            error: BaseException = task.exception()
            return error
    return None
