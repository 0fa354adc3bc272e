"""Looks for what is left of an erased user, everywhere, and believes nobody: `erasure check`.

Redis key by key, ClickHouse table by table, every checkpoint file's bytes, users.v1 from its
beginning. It shares with what erases only the names of places. Raw topics are not rewritten: their
records age out, and the report says by when.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from infra.pseudonym import Pseudonymiser
from infra.security import kafka_client
from infra.serving_connect import redis_client
from infra.settings import Settings, UserError
from infra.warehouse import Warehouse
from streams import topics
from streams.events import user_key
from streams.topics import CATALOGUE, TopicSpec

LONG = 8  # bytes of an id that is looked for as such: a shorter one is everywhere by chance
SCAN_AT_ONCE = 1_000
QUIET_MS = 1_500
RAW = [spec for spec in CATALOGUE if spec.keyed_by == "user" and not spec.compacted]


def check(settings: Settings, tenant: str, user: str) -> dict[str, Any]:
    """What is left: traces by place, what ages out of raw topics by when, and whether it is clean.

    Raises:
        UserError: a part does not answer, or the key or the checkpoints are not where it looks.
        RedisError, KafkaError: a part goes away meanwhile.
    """
    pseudonyms = Pseudonymiser.from_settings(
        settings.pseudonym_key_file, settings.data_dir, make=False
    )
    keys = pseudonyms.user_keys(tenant, user)
    kafka_url = settings.kafka_url.get_secret_value()
    topics.require(kafka_url)
    profile, raw = _in_topics(kafka_url, user_key(tenant, user))
    traces = {
        "redis": _in_redis(settings.redis_url.get_secret_value(), tenant, user),
        "clickhouse": _in_clickhouse(settings.clickhouse_url.get_secret_value(), keys, user),
        "checkpoints": _in_checkpoints(settings.checkpoints, tenant, user),
        topics.USERS: profile,
    }
    return {"traces": traces, "ages_out": raw, "clean": not any(traces.values())}


def _in_redis(url: str, tenant: str, user: str) -> int:
    """Keys that name him, and lists that hold him."""
    client = redis_client(url)
    name, found = user.encode(), 0
    try:
        for some in _in_parts(client.scan_iter(count=SCAN_AT_ONCE)):
            ends = f":{tenant}:{user}".encode()
            found += sum(k.endswith(ends) or (len(name) >= LONG and name in k) for k in some)
            lists = [key for key in some if key.startswith(b"recent:")]
            found += sum(name in client.lrange(key, 0, -1) for key in lists)
    finally:
        client.close()
    return found


def _in_parts(keys: Iterator[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    for key in keys:
        part.append(key)
        if len(part) == SCAN_AT_ONCE:
            yield part
            part = []
    yield part


def _in_clickhouse(url: str, keys: tuple[str, ...], user: str) -> int:
    """Rows under any of his pseudonyms, and rows in whose text his id stands."""
    warehouse = Warehouse(url)
    try:
        columns = warehouse.ask(
            "SELECT table, name FROM system.columns WHERE database = currentDatabase()"
            " AND type IN ('String', 'LowCardinality(String)') AND table IN"
            " (SELECT name FROM system.tables WHERE database = currentDatabase()"
            " AND engine LIKE '%MergeTree')"
        )
        found = 0
        for table in sorted({column["table"] for column in columns}):
            names = [column["name"] for column in columns if column["table"] == table]
            tests = [f"`{name}` IN %(keys)s" for name in names]
            if len(user.encode()) >= LONG:
                tests += [f"position(`{name}`, %(user)s) > 0" for name in names]
            sql = f"SELECT count() AS n FROM `{table}` WHERE {' OR '.join(tests)}"
            found += warehouse.query(sql, {"keys": list(keys), "user": user})[0]["n"]
        return found
    finally:
        warehouse.close()


def _in_checkpoints(url: str, tenant: str, user: str) -> int:
    """Files that list him among their users, hold the hash of his id, or his id anywhere."""
    import fsspec

    name = user.encode()
    hashed = blake2b(name, digest_size=8).digest()
    filesystem, root = fsspec.core.url_to_fs(url)
    paths = filesystem.glob(f"{root}/*.safetensors")
    if not paths:
        raise UserError(f"{url}: no checkpoint there: name the workers' SPRINGTIDE_CHECKPOINT_URL")
    found = 0
    for path in paths:
        content = filesystem.cat_file(path)
        traces = hashed in content or hashed[::-1] in content
        traces |= name in _users(content, tenant) or (len(name) >= LONG and name in content)
        found += traces
    return found


def _users(content: bytes, tenant: str) -> set[bytes]:
    """User ids of a partition's file, read as docs/checkpoints.md says."""
    length = struct.unpack("<Q", content[:8])[0]
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]

    def array(name: str) -> bytes:
        start, end = header.get(f"{tenant}/{name}", {"data_offsets": (0, 0)})["data_offsets"]
        return body[start:end]

    lengths = struct.unpack(f"<{len(array('users.length')) // 4}i", array("users.length"))
    heap, at, users = array("users.bytes"), 0, set()
    for size in lengths:
        users.add(heap[at : at + max(size, 0)])
        at += max(size, 0)
    return users


def _in_topics(kafka_url: str, key: bytes) -> tuple[int, dict[str, dict[str, Any]]]:
    """Records of users.v1 that name him; of each raw topic how many there are, gone by when."""
    return asyncio.run(_read_topics(kafka_url, key))


async def _read_topics(kafka_url: str, key: bytes) -> tuple[int, dict[str, dict[str, Any]]]:
    profile = len(await _records(kafka_url, topics.USERS, key))
    raw: dict[str, dict[str, Any]] = {}
    for spec in RAW:
        stamps = await _records(kafka_url, spec.name, key)
        if stamps:
            raw[spec.name] = {"records": len(stamps), "gone_by": _gone_by(spec, max(stamps))}
    return profile, raw


def _gone_by(spec: TopicSpec, newest_ms: int) -> str:
    at = datetime.fromtimestamp(newest_ms / 1000, UTC) + timedelta(days=spec.retention_days)
    return at.isoformat(timespec="seconds")


async def _records(kafka_url: str, topic: str, key: bytes) -> list[int]:
    """Append times of the key's records, whatever partition they are in."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(
        **kafka_client(kafka_url), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        numbers = await asyncio.to_thread(topics.partition_count, kafka_url, topic)
        places = [TopicPartition(topic, number) for number in range(numbers)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        found: list[int] = []
        left = {place for place in places if ends[place]}
        while left:
            fetched = await consumer.getmany(*left, timeout_ms=QUIET_MS)
            for records in fetched.values():
                found += [record.timestamp for record in records if record.key == key]
            # A quiet moment ends it too: the last offsets may have been compacted away.
            left = {p for p in left if await consumer.position(p) < ends[p]} if fetched else set()
        return found
    finally:
        await consumer.stop()
