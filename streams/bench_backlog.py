"""A backlog for `bench ingest`: a simulated platform's clicks and purchases, written at once.

Comments are left out: the classifier's speed is another benchmark. What a producer would spend on
every event is not measured here, so whole record batches are built and sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from infra.security import kafka_client
from streams import topics
from streams.simulate import SimulationConfig, simulate

SENT = (topics.ITEMS, topics.CLICKS, topics.PURCHASES)
INTERACTIONS = (topics.CLICKS, topics.PURCHASES)
BATCH_BYTES = 500_000
IN_FLIGHT = 16
SIMULATED_RATE = 1_000.0


class BacklogOptions(Struct, frozen=True):
    """Sizes: events are clicks and purchases together."""

    events: int = 200_000
    users: int = 10_000
    items: int = 1_000
    seed: int = 7


def write_backlog(kafka_url: str, options: BacklogOptions) -> dict[tuple[str, int], int]:
    """Write the catalogue and the events, keyed as a producer would.

    Returns:
        (topic, partition) → events, of the interaction topics.
    """
    return asyncio.run(_Backlog(kafka_url).write(options))


def _messages(options: BacklogOptions) -> Iterator[tuple[str, bytes, bytes]]:
    config = SimulationConfig(
        users=options.users,
        items=options.items,
        rate=SIMULATED_RATE,
        seconds=2 * options.events / SIMULATED_RATE,
        speed=60.0,
        seed=options.seed,
        scandal_comments=0,
    )
    left = options.events
    for outbound in simulate(config):
        if outbound.topic in SENT:
            yield outbound.topic, outbound.key, outbound.value
            left -= outbound.topic in INTERACTIONS
            if not left:
                return


class _Backlog:
    def __init__(self, kafka_url: str) -> None:
        self._connection = kafka_client(kafka_url)
        self._batches: dict[tuple[str, int], Any] = {}
        self._sent: list[Any] = []
        self._counts: dict[tuple[str, int], int] = {}

    async def write(self, options: BacklogOptions) -> dict[tuple[str, int], int]:
        from aiokafka import AIOKafkaProducer
        from aiokafka.partitioner import DefaultPartitioner

        partitioner = DefaultPartitioner()
        places = {
            spec.name: list(range(spec.partitions(topics.PARTITIONS)))
            for spec in topics.CATALOGUE
            if spec.name in SENT
        }
        async with AIOKafkaProducer(
            **self._connection, acks="all", max_batch_size=BATCH_BYTES,
            max_request_size=2 * BATCH_BYTES,
        ) as producer:  # fmt: skip
            for topic, key, value in _messages(options):
                partition = partitioner(key, places[topic], places[topic])
                await self._add(producer, (topic, partition), key, value)
            for place in list(self._batches):
                await self._send(producer, place)
            await asyncio.gather(*self._sent)
        return {place: n for place, n in self._counts.items() if place[0] in INTERACTIONS}

    async def _add(self, producer: Any, place: tuple[str, int], key: bytes, value: bytes) -> None:
        self._counts[place] = self._counts.get(place, 0) + 1
        batch = self._batches.get(place)
        if batch is None:
            batch = self._batches[place] = producer.create_batch()
        if batch.append(key=key, value=value, timestamp=None) is None:  # full
            await self._send(producer, place)
            batch = self._batches[place] = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)

    async def _send(self, producer: Any, place: tuple[str, int]) -> None:
        topic, partition = place
        batch = self._batches.pop(place)
        self._sent.append(await producer.send_batch(batch, topic, partition=partition))
        if len(self._sent) >= IN_FLIGHT:
            await asyncio.gather(*self._sent)
            self._sent.clear()
