"""Topics of one partition read whole, without a consumer group: from the beginning, by everyone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, NamedTuple

from infra.security import kafka_client

POLL_MS = 100
QUIET_SECONDS = 0.5
AT_ONCE = 2_000
START_SECONDS = 60.0


class Fetched(NamedTuple):
    """Records, possibly none, and whether all that was there at the start has been seen."""

    records: list[Any]
    caught_up: bool


async def follow(
    kafka_url: str, topic: str, client_id: str, start: int = 0
) -> AsyncGenerator[Fetched, None]:
    """The records of a topic from its beginning, and then as they come; never ends by itself.

    Args:
        start: the first offset wanted; where it is not there any more, or not yet, the oldest.

    Raises:
        TimeoutError: the broker told of no offsets.
        KafkaConnectionError: the task ended that keeps aiokafka's metadata.
    """
    from aiokafka import AIOKafkaConsumer, TopicPartition
    from aiokafka.errors import KafkaConnectionError

    consumer = AIOKafkaConsumer(
        **kafka_client(kafka_url),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=POLL_MS,
        client_id=client_id,
    )
    here = TopicPartition(topic, 0)
    try:
        async with asyncio.timeout(START_SECONDS):
            await consumer.start()
            consumer.assign([here])
            first = (await consumer.beginning_offsets([here]))[here]
            end = (await consumer.end_offsets([here]))[here]
        consumer.seek(here, start if first <= start <= end else first)
        caught_up, reached = False, 0.0
        metadata = consumer._client._sync_task
        while True:
            if metadata.done():  # nothing would come any more, and nobody would say so
                consumer._client._sync_task = None  # else stopping raises in place of this
                raise KafkaConnectionError("aiokafka keeps no metadata") from metadata.exception()
            fetched = await consumer.getmany(here, timeout_ms=POLL_MS, max_records=AT_ONCE)
            records = fetched.get(here, [])
            if not reached and await consumer.position(here) >= end:
                reached = time.monotonic()
            # A broker may state an end within the last batch (Tansu does): a moment must follow it.
            caught_up = bool(reached) and time.monotonic() - reached > QUIET_SECONDS
            yield Fetched(records, caught_up)
    finally:
        await consumer.stop()


async def read(kafka_url: str, topic: str, client_id: str) -> AsyncIterator[Any]:
    """The records that are there now, oldest first."""
    async with aclosing(follow(kafka_url, topic, client_id)) as following:
        async for fetched in following:
            for record in fetched.records:
                yield record
            if fetched.caught_up:
                return
