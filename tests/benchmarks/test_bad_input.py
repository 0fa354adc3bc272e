"""A million fuzzed events: nothing breaks, and no neighbour is lost.

Each record is good, bad by construction, or may be either. Where its effect is was counted from
outside: a row in ClickHouse, a letter in dead-letter.v1, or a repeated id in the checkpoint's sum.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis

from infra.security import kafka_client
from infra.serving_lists import decode_list, list_key
from infra.warehouse import Warehouse
from streams import dead_letter, topics
from streams.commands.checkpoints import summarise
from streams.demo_parts import Parts

EVENTS = int(os.environ.get("SPRINGTIDE_FUZZED_EVENTS", "1000000"))
SEED = 20_261_127
NEIGHBOURS = 1_000  # users of whom every event is good
GOOD, BAD, EITHER = range(3)
TOLD = topics.INTERACTION_TOPICS
BATCH_BYTES, IN_FLIGHT = 500_000, 16
WAIT_SECONDS = 1_800
ODD_TEXTS = ("", "\x00", "\ud83d", "</s><mask>", "退款" * 400, "😀" * 50, "x" * 10_001, "é\u0301")
NO_TEXT: tuple[Any, ...] = (None, 7, [], {}, True, -1e308, ["a"], {"a": 1})
NO_TIME = ("yesterday", "", "2999-01-01T00:00:00Z", "2026-03-01T12:00:00", "0000-00-00T00:00:00Z")
NO_ID = ("", "a" * 129, "课" * 43, *NO_TEXT)
NO_TENANT = ("Not OK", "ok\n", "", "a" * 65, "{x}", *NO_TEXT)
Place = tuple[str, int]


class Fuzz:
    """Records made from a seed."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def record(self, number: int) -> tuple[str, int, bytes | None, bytes | None, int]:
        """Topic, partition, key, value, and which of the three kinds it is."""
        chance = self._chance
        if number % 10 == 0:
            user = f"neighbour-{number // 10 % NEIGHBOURS}"
            kind = "comment" if number % 4_000 == 0 else chance.choice(["click", "purchase"])
            value = json.dumps(self._fields(kind, f"good-{number}", user)).encode()
            partition = number // 10 % NEIGHBOURS % topics.PARTITIONS
            return topics.TOPIC_OF_TYPE[kind], partition, b"default/" + user.encode(), value, GOOD
        kind = chance.choices(["click", "purchase", "comment"], [60, 25, 15])[0]
        user = f"u{chance.randrange(5_000)}"
        fields = self._fields(kind, f"e{number}", user)
        harmless = chance.random() < (0.01 if kind == "comment" else 0.3)
        value, sort = self._unusual(fields, number) if harmless else self._broken(fields)
        key = chance.choice([f"default/{user}".encode(), b"", None, chance.randbytes(9)])
        topic = topics.TOPIC_OF_TYPE[kind]
        if sort == BAD and chance.random() < 0.05:  # what is no event of theirs either
            topic = chance.choice([topics.USERS, topics.SERVED, topics.ITEMS])
            value, key = chance.randbytes(chance.randint(1, 80)), b"compacted: it needs one"
        spec = next(spec for spec in topics.CATALOGUE if spec.name == topic)
        return topic, chance.randrange(spec.partitions(topics.PARTITIONS)), key, value, sort

    def _fields(self, kind: str, name: str, user: str) -> dict[str, Any]:
        at = datetime.fromtimestamp(1_760_000_000 + self._chance.randrange(10**6), UTC)
        fields: dict[str, Any] = {
            "id": name,
            "type": kind,
            "occurred_at": at.isoformat(),
            "user_id": user,
            "item_id": f"i{self._chance.randrange(2_000)}",
        }
        return fields | ({"text": "讲得很清楚"} if kind == "comment" else {})

    def _broken(self, fields: dict[str, Any]) -> tuple[bytes | None, int]:
        """Something that nobody may learn."""
        chance, required = self._chance, ("id", "occurred_at", "user_id", "item_id")
        change = chance.randrange(13)
        if change == 0:
            del fields[chance.choice(required)]
        elif change == 1:
            fields[chance.choice(required)] = chance.choice(NO_TEXT)
        elif change == 2:
            fields[chance.choice(("id", "user_id", "item_id"))] = chance.choice(NO_ID)
        elif change == 3:
            fields["tenant"] = chance.choice(NO_TENANT)
        elif change == 4:
            fields["occurred_at"] = chance.choice(NO_TIME)
        elif change == 5:
            fields["type"] = chance.choice(["refund", "", "scored-comment", *NO_TEXT])
        elif change == 6:
            fields |= {"position": -1, "price": -1, "rating": 11}
        whole = json.dumps(fields).encode()
        return (self._torn(whole, change) if change > 6 else whole), BAD

    def _torn(self, whole: bytes, change: int) -> bytes | None:
        """The bytes themselves are wrong."""
        chance = self._chance
        endless = b" " * 1_000_001 + whole if chance.random() < 0.005 else b"{" * 5_000
        deep = b'{"x": ' + b"[" * 3_000 + b"]" * 3_000 + b"," + whole[1:-2]
        return {
            7: whole[: chance.randrange(len(whole))],
            8: chance.choice([None, b"", b"[]", b"null", b"\xff\xfe", endless]),
            9: whole + b"\n" + whole,
            10: whole.replace(b'"user_id": "', b'"user_id": "\\ud800', 1),
            11: whole.replace(b'"item_id": "', b'"item_id": "\xff', 1),
            12: deep,
        }[change]

    def _unusual(self, fields: dict[str, Any], number: int) -> tuple[bytes, int]:
        """Strange, and perhaps right."""
        chance = self._chance
        change = chance.randrange(7)
        if change == 0:
            fields["id"] = f"e{max(0, number - chance.randrange(200))}"
        elif change == 1:
            fields[chance.choice(["surface", "session_id", "text"])] = chance.choice(ODD_TEXTS)
        elif change == 2:
            fields["item_id"] = chance.choice(["课" * 42, " ", "a" * 128, "{x}", "\udfff", "\0"])
        elif change == 3:
            fields |= {"unknown": {"deep": [1, {"er": None}]}, "position": 10**20, "price": 1e300}
        whole = bytearray(json.dumps(fields, ensure_ascii=change != 4, default=str).encode(
            "utf-8", "surrogatepass"
        ))  # fmt: skip
        if change == 5:
            whole[chance.randrange(len(whole))] = chance.randrange(256)
        elif change == 6:
            at = chance.randrange(len(whole))
            whole[at:at] = chance.choice([b" ", b"\n", b"}\n{", b"\\u0000", chance.randbytes(2)])
        return bytes(whole), EITHER


class Book:
    """Place → offset → kind, of everything that was acknowledged."""

    def __init__(self) -> None:
        self.kinds: dict[Place, dict[int, int]] = defaultdict(dict)

    def of(self, kind: int, *names: str) -> set[tuple[str, int, int]]:
        """Sources of this kind in these topics."""
        return {
            (*place, offset)
            for place, kinds in self.kinds.items()
            if place[0] in names
            for offset, found in kinds.items()
            if found == kind
        }


async def send(kafka_url: str, events: int) -> Book:
    """Whole record batches, whose offsets follow from their first one's."""
    from aiokafka import AIOKafkaProducer

    fuzz, book = Fuzz(SEED), Book()
    open_batches: dict[Place, tuple[Any, list[int]]] = {}
    on_the_way: list[tuple[Place, Any, list[int]]] = []

    async def settle() -> None:
        for place, future, kinds in on_the_way:
            first = (await future).offset
            book.kinds[place].update(enumerate(kinds, first))
        on_the_way.clear()

    async with AIOKafkaProducer(
        **kafka_client(kafka_url), acks="all", max_batch_size=BATCH_BYTES,
        max_request_size=2_000_000,
    ) as producer:  # fmt: skip

        async def close(place: Place) -> None:
            batch, kinds = open_batches.pop(place)
            future = await producer.send_batch(batch, place[0], partition=place[1])
            on_the_way.append((place, future, kinds))
            if len(on_the_way) >= IN_FLIGHT:
                await settle()

        for number in range(events):
            topic, partition, key, value, kind = fuzz.record(number)
            place = topic, partition
            while True:
                if place not in open_batches:
                    open_batches[place] = producer.create_batch(), []
                batch, kinds = open_batches[place]
                if batch.append(key=key, value=value, timestamp=None) is not None:
                    kinds.append(kind)
                    break
                await close(place)
        for place in list(open_batches):
            await close(place)
        await settle()
    return book


def known(kept: dict[str, Any]) -> int:
    """Interactions that the checkpoint knows of."""
    return int(kept["events_learned"] + kept["duplicates"] + kept["ignored"])


def wait_until_kept(parts: Parts, book: Book) -> dict[str, Any]:
    """Wait until the checkpoint holds every event that is not a dead letter."""
    sent = sum(len(found) for place, found in book.kinds.items() if place[0] in TOLD)
    until = time.monotonic() + WAIT_SECONDS
    kept: dict[str, Any] = {}
    while time.monotonic() < until:
        parts.check()
        kept = summarise(parts.checkpoints)
        behind = [
            place
            for place, found in book.kinds.items()
            if place[0] in (*TOLD, topics.USERS)
            and kept["offsets"].get(f"{place[0]}/{place[1]}", -1) < max(found)
        ]
        if not behind and known(kept) + len(dead_sources(parts, TOLD)) >= sent:
            return kept
        time.sleep(2)
    raise AssertionError(f"not worked off: {kept}")


def dead_sources(parts: Parts, names: tuple[str, ...]) -> set[tuple[str, int, int]]:
    """Where the dead letters came from; each has a reason."""

    async def read() -> set[tuple[str, int, int]]:
        found = set()
        async for letter in dead_letter.read_all(parts.stack.kafka_url):
            assert letter.reason
            if letter.topic in names:
                found.add((letter.topic, letter.partition, letter.offset))
        return found

    return asyncio.run(read())


def rows(parts: Parts, table: str, where: str) -> Counter[tuple[str, int, int]]:
    """How often each record has a row."""
    warehouse = Warehouse(parts.stack.clickhouse_url)
    try:
        found = warehouse.query(
            f"SELECT topic, `partition` AS p, groupArray(offset) AS offsets FROM {table} "
            f"WHERE {where} GROUP BY ALL"
        )
    finally:
        warehouse.close()
    return Counter((row["topic"], row["p"], at) for row in found for at in row["offsets"])


@pytest.mark.kafka
@pytest.mark.timeout(3_600)
def test_a_million_fuzzed_events_leave_their_neighbours_whole(parts: Parts) -> None:
    began = time.monotonic()
    book = asyncio.run(send(parts.stack.kafka_url, EVENTS))
    sent = time.monotonic()
    kept = wait_until_kept(parts, book)
    everything = (*TOLD, topics.USERS, topics.SERVED, topics.ITEMS)
    dead = dead_sources(parts, everything)
    assert book.of(BAD, *everything) - dead == set()
    assert book.of(GOOD, *everything) & dead == set()
    used = rows(parts, "interactions", "topic IN ('clicks.v1', 'purchases.v1')")
    used += rows(parts, "scored_comments", "topic = 'comments.v1'")
    assert max(used.values()) == 1
    assert book.of(GOOD, *TOLD) - used.keys() == set()
    assert dead & used.keys() == set()
    neither = book.of(EITHER, *TOLD) - dead - used.keys()
    assert len(neither) == kept["duplicates"]  # and nothing that is not known by its id
    of_told = sum(source[0] in TOLD for source in dead)
    assert known(kept) + of_told == sum(len(book.kinds[place]) for place in book.kinds
                                            if place[0] in TOLD)  # fmt: skip
    with Redis.from_url(parts.stack.redis_url) as client:
        for number in range(NEIGHBOURS):
            found = decode_list(client.get(list_key("default", f"neighbour-{number}")))
            assert found is not None and found.items
    print(
        f"{EVENTS:,} events: {len(dead):,} dead letters, {len(used):,} used, {len(neither):,} "
        f"repeats; sent in {sent - began:.0f} s, done in {time.monotonic() - began:.0f} s"
    )
