"""Whoever follows a topic is told when nothing can come any more."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

from infra.local.stack import LocalStack
from streams import topics, whole_topic


def test_a_client_without_metadata_is_no_quiet_topic(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeps, followed = AIOKafkaClient._md_synchronizer, asyncio.Event()

    async def ends(client: AIOKafkaClient) -> None:
        keeping = asyncio.ensure_future(keeps(client))
        await followed.wait()
        keeping.cancel()
        raise RuntimeError("unable to perform operation")

    monkeypatch.setattr(AIOKafkaClient, "_md_synchronizer", ends)
    topics.apply(stack.kafka_url)

    async def scenario() -> None:
        async for _ in whole_topic.follow(stack.kafka_url, topics.ITEMS, "test"):
            followed.set()

    with pytest.raises(KafkaConnectionError) as raised:
        asyncio.run(asyncio.wait_for(scenario(), 60.0))
    assert isinstance(raised.value.__cause__, RuntimeError)
