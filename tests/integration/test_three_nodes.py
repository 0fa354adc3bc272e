"""Three Kafka nodes, one killed under load: nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer

from infra.local.stack import LocalStack
from infra.security import kafka_client
from streams import topics
from streams.sender import Sender
from streams.simulate import Outbound

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(280)]

RATE, SECONDS, KILLED_AFTER = 300, 20, 5


async def load(url: str, began: threading.Event) -> Sender:
    sender = Sender(url, idempotent=True, linger_ms=2)
    await sender.start()
    for number in range(RATE * SECONDS):
        key, value = f"default/u{number % 100}".encode(), str(number).encode()
        await sender.send(Outbound(topics.CLICKS, key, value, 0.0))
        if number == RATE * KILLED_AFTER:
            began.set()
        if number % 10 == 0:
            await asyncio.sleep(10 / RATE)
    await sender.flush()
    await sender.stop()
    return sender


def read_back(url: str) -> Counter[bytes]:
    consumer = KafkaConsumer(
        topics.CLICKS, auto_offset_reset="earliest", consumer_timeout_ms=5_000,
        **kafka_client(url),
    )  # fmt: skip
    found = Counter(record.value for record in consumer)
    consumer.close()
    return found


def nodes_of(url: str) -> int:
    admin = KafkaAdminClient(**kafka_client(url))
    try:
        return len(admin.describe_cluster()["brokers"])
    finally:
        admin.close()


def test_a_node_is_lost_under_load_and_no_event_is(kafka_home: Path, tmp_path: Path) -> None:
    with LocalStack(tmp_path, "kafka", kafka_home, nodes=3) as stack:
        assert stack.broker.endswith("3 nodes") and stack.kafka_url.count(",") == 2
        topics.apply(stack.kafka_url, replication=stack.replication)
        half_way = threading.Event()

        def kill() -> None:
            half_way.wait(120)
            os.kill(stack.supervisor.pid("kafka-2"), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        sender = asyncio.run(load(stack.kafka_url, half_way))
        killer.join()
        found = read_back(stack.kafka_url)
        assert sender.refused == 0 and sender.events_in == RATE * SECONDS
        assert set(found) == {str(number).encode() for number in range(RATE * SECONDS)}
        assert max(found.values()) == 1
        deadline = time.monotonic() + 60  # it is started again, and joins
        while nodes_of(stack.kafka_url) < 3 and time.monotonic() < deadline:
            time.sleep(0.5)
        assert nodes_of(stack.kafka_url) == 3
