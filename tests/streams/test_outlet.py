"""What is written to Kafka arrives, also where aiokafka's own tasks have ended meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import NotLeaderForPartitionError

from infra.local.stack import LocalStack
from streams import topics
from streams.outlet import Outgoing, Outlet
from streams.whole_topic import read


async def _not_expected(*_: Any, **__: Any) -> None:
    raise RuntimeError("nobody expects it")


async def _not_the_leader(*_: Any, **__: Any) -> None:
    raise NotLeaderForPartitionError


@pytest.mark.parametrize("part", ["sender", "metadata"])
def test_a_producer_that_has_ended_is_started_anew(stack: LocalStack, part: str) -> None:
    async def scenario() -> None:
        topics.apply(stack.kafka_url)
        outlet = Outlet(stack.kafka_url)
        await outlet.start()
        old = outlet._producer
        if part == "sender":
            old._sender._send_produce_req = _not_expected
        else:
            old.client._metadata_update = _not_expected
            old.client.force_metadata_update()
            old.client.send = _not_the_leader  # it would wait for metadata, for ever
        keys = [f"{part}-{n}".encode() for n in range(5)]
        records = [Outgoing(topics.ALERTS, key, b"{}", 0) for key in keys]
        async with asyncio.timeout(30):
            await asyncio.gather(*(outlet.write([record]) for record in records))
        assert outlet._producer is not old
        await outlet.stop()
        found = {record.key async for record in read(stack.kafka_url, topics.ALERTS, "test")}
        assert found >= set(keys)

    asyncio.run(scenario())
