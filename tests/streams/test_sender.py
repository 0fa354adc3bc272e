"""The sender against a real broker: everything arrives, and every acknowledgement is counted."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaConsumer, TopicPartition

from infra.security import kafka_servers
from streams import topics
from streams.sender import Offsets, Outbound, Sender


@given(st.lists(st.integers(0, 60)))
def test_offsets_are_a_set(offsets: list[int]) -> None:
    kept = Offsets()
    for offset in offsets:
        kept.add(offset)
    assert len(kept) == len(set(offsets))
    assert {offset for offset in range(62) if offset in kept} == set(offsets)
    assert kept.last == max(offsets, default=-1)
    spans = kept.ranges
    assert [offset for first, last in spans for offset in range(first, last + 1)] == sorted(
        set(offsets)
    )
    # Neighbours are one range: what a broker hands out in order costs nothing to keep.
    assert all(after[0] > before[1] + 1 for before, after in pairwise(spans))


@given(st.lists(st.integers(0, 60)), st.integers(-1, 60))
def test_offsets_up_to_one_join_the_set(offsets: list[int], last: int) -> None:
    kept = Offsets()
    for offset in offsets:
        kept.add(offset)
    kept.add_up_to(last)
    assert {offset for offset in range(62) if offset in kept} == {*offsets, *range(last + 1)}
    assert all(after[0] > before[1] + 1 for before, after in pairwise(kept.ranges))


def click(number: int, size: int = 0) -> Outbound:
    user = f"u{number % 17}"
    value = b'{"n": %d, "pad": "%s"}' % (number, b"x" * size)
    return Outbound(topics.CLICKS, f"default/{user}".encode(), value, 0.0, "default", user)


def read_all(kafka_url: str, topic: str) -> set[tuple[int, int, bytes]]:
    consumer = KafkaConsumer(bootstrap_servers=kafka_servers(kafka_url))
    try:
        places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(places)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(places)
        found: set[tuple[int, int, bytes]] = set()
        while [place for place in places if consumer.position(place) < ends[place]]:
            for records in consumer.poll(200).values():
                found |= {(one.partition, one.offset, one.value) for one in records}
        return found
    finally:
        consumer.close()


@pytest.mark.kafka
@pytest.mark.parametrize("idempotent", [False, True])
def test_what_is_acknowledged_is_what_the_broker_has(stack: Any, idempotent: bool) -> None:
    topics.apply(stack.kafka_url)

    async def run() -> None:
        before = await asyncio.to_thread(read_all, stack.kafka_url, topics.CLICKS)
        asked: list[tuple[str, str]] = []

        async def note(tenant: str, user: str) -> None:
            asked.append((tenant, user))

        sender = Sender(stack.kafka_url, note, idempotent, max_in_flight=50)
        await sender.start()
        profile = Outbound(topics.USERS, b"default/u1", b'{"user_id": "u1"}', 0.0)
        await sender.send(profile)
        for number in range(2_000):
            await sender.send(click(number))
        await sender.send(click(-1, size=1_500_000))  # the topic takes 1.1 MB
        await sender.send(click(-2, size=3_000_000))  # more than any request may have
        await sender.flush()
        await sender.stop()
        assert sender.events_in == len(asked) - 2 == 2_000
        assert sender.refused == 2 and "clicks.v1" in sender.first_refusal
        after = await asyncio.to_thread(read_all, stack.kafka_url, topics.CLICKS)
        new = after - before
        kept = sender.acknowledged
        assert {(partition, offset) for partition, offset, _ in new} == {
            (partition, offset)
            for (topic, partition), offsets in kept.items()
            for first, last in offsets.ranges
            for offset in range(first, last + 1)
            if topic == topics.CLICKS
        }
        assert {value for _, _, value in new} == {click(number).value for number in range(2_000)}
        assert all(len(offsets.ranges) == 1 for offsets in kept.values())

    asyncio.run(run())


@pytest.mark.kafka
def test_a_send_that_is_cancelled_does_not_keep_the_flush(stack: Any) -> None:
    topics.apply(stack.kafka_url)

    async def run() -> None:
        sender = Sender(stack.kafka_url)
        await sender.start()

        async def send_on() -> None:
            for number in range(100_000):
                await sender.send(click(number, size=2_000))

        for seconds in (0.01, 0.03, 0.1):
            sending = asyncio.create_task(send_on())
            await asyncio.sleep(seconds)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await asyncio.wait_for(sender.flush(), 30)
        await sender.stop()
        assert sender.events_in > 0

    asyncio.run(run())


def test_a_broker_that_is_away_is_waited_for(tmp_path: Any) -> None:
    """Tansu, for it dies and comes back within a second."""
    from infra.local.broker import broker_part
    from infra.local.ports import free_port
    from infra.local.supervisor import Supervisor

    broker = broker_part("tansu", None, tmp_path, free_port())

    async def run(supervisor: Supervisor) -> None:
        sender = Sender(broker.url)
        await sender.start()
        for number in range(100):
            await sender.send(click(number))
        await sender.flush()
        assert sender.events_in == 100
        supervisor.stop()
        for number in range(100):
            await sender.send(click(number))
        flushing = asyncio.create_task(sender.flush())
        await asyncio.wait({flushing}, timeout=1.0)
        assert not flushing.done() and sender.events_in == 100
        with Supervisor(tmp_path / "again") as again:
            await asyncio.to_thread(again.start, broker.specs[0], broker.ready)
            await asyncio.to_thread(topics.apply, broker.url)
            await asyncio.wait_for(flushing, 60)
            assert sender.refused == 0
            await sender.stop()

    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(broker.specs[0], broker.ready)
        topics.apply(broker.url)
        asyncio.run(run(supervisor))
