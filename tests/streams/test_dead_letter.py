"""Dead letters on a real broker: written once each, read back whole, sent again with their keys."""

from __future__ import annotations

import asyncio
import base64
import uuid
from typing import Any

import pytest

from infra.security import kafka_servers
from infra.settings import UserError
from streams import dead_letter, topics
from streams.dead_letter import MAX_PAYLOAD_BYTES, make_dead_letter
from streams.events import DeadLetter, encode
from streams.outlet import Outgoing, Outlet


def letters_of(kafka_url: str, mark: str) -> list[DeadLetter]:
    async def collect() -> list[DeadLetter]:
        return [one async for one in dead_letter.read_all(kafka_url) if one.reason == mark]

    return asyncio.run(collect())


def write(kafka_url: str, letters: list[DeadLetter]) -> None:
    async def send() -> None:
        outlet = Outlet(kafka_url)
        await outlet.start()
        await outlet.write([Outgoing(topics.DEAD_LETTER, b"k", encode(one), 0) for one in letters])
        await outlet.stop()

    asyncio.run(send())


def test_a_long_payload_is_cut_and_says_so() -> None:
    letter = make_dead_letter("too large", "clicks.v1", 1, 2, None, b"x" * 10_000_000)
    assert letter.payload_bytes == 10_000_000 and letter.payload_truncated
    assert len(base64.b64decode(letter.payload_base64)) == MAX_PAYLOAD_BYTES
    assert len(encode(letter)) < topics.CATALOGUE[-1].max_message_bytes


def test_letters_come_back_once_each_and_are_sent_again(stack: Any) -> None:
    topics.apply(stack.kafka_url)
    mark = uuid.uuid4().hex
    payload = b'{"id": "' + mark.encode() + b'", \xff'
    one = make_dead_letter(mark, topics.CLICKS, 2, 7, b"default/u", payload)
    other = make_dead_letter(mark, topics.COMMENTS, 0, 8, None, b"x" * 2_000_000)
    write(stack.kafka_url, [one, one, other])  # a crash may have written one twice
    found = letters_of(stack.kafka_url, mark)
    assert [(each.topic, each.partition, each.offset) for each in found] == [
        (topics.CLICKS, 2, 7),
        (topics.COMMENTS, 0, 8),
    ]
    sent = asyncio.run(dead_letter.replay(stack.kafka_url, found))
    assert sent == 1  # the other was cut
    assert _last_of(stack.kafka_url, topics.CLICKS, 2, payload) == (b"default/u", payload)


def _last_of(kafka_url: str, topic: str, partition: int, payload: bytes) -> tuple[Any, Any]:
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=kafka_servers(kafka_url))
    here = TopicPartition(topic, partition)
    consumer.assign([here])
    consumer.seek_to_beginning(here)
    found: tuple[Any, Any] = (None, None)
    for _ in range(50):
        for record in consumer.poll(timeout_ms=200).get(here, ()):
            if record.value == payload:
                found = (record.key, record.value)
        if found[1] is not None:
            break
    consumer.close()
    return found


def test_a_source_without_a_letter_is_said() -> None:
    with pytest.raises(UserError, match=r"no dead letter came from clicks\.v1/0/99"):
        dead_letter.pick([], None, "clicks.v1/0/99")
