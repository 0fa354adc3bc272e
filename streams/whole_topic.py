"""Topics of one partition read whole, without a consumer group: from the beginning, by everyone."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, NamedTuple

from streams import topics

POLL_MS = 100
QUIET_SECONDS = 0.5
AT_ONCE = 2_000


class Fetched(NamedTuple):
    """Records, possibly none, and whether all that was there at the start has been seen."""

    records: list[Any]
    caught_up: bool


async def follow(kafka_url: str, topic: str, client_id: str) -> AsyncGenerator[Fetched, None]:
    """The records of a topic from its beginning, and then as they come; never ends by itself."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(
        bootstrap_servers=topics.bootstrap_servers(kafka_url),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=POLL_MS,
        client_id=client_id,
    )
    await consumer.start()
    try:
        here = TopicPartition(topic, 0)
        consumer.assign([here])
        await consumer.seek_to_beginning(here)
        end = (await consumer.end_offsets([here]))[here]
        caught_up, heard = False, time.monotonic()
        while True:
            fetched = await consumer.getmany(here, timeout_ms=POLL_MS, max_records=AT_ONCE)
            records = fetched.get(here, [])
            if records:
                heard = time.monotonic()
            # A broker may state too low an end (Tansu does): a quiet moment must follow it.
            quiet = time.monotonic() - heard > QUIET_SECONDS
            caught_up = caught_up or (quiet and await consumer.position(here) >= end)
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
