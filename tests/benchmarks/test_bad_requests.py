"""100,000 fuzzed requests to the real API process: an answer each, and no neighbour is lost.

Bytes go over a socket of their own, since no client would say such things. In between come good
requests, each answered, and each of their events learned exactly once.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from infra.warehouse import Warehouse
from streams.api_operations import OPERATIONS
from streams.demo_parts import Parts

REQUESTS = int(os.environ.get("SPRINGTIDE_FUZZED_REQUESTS", "100000"))
SEED, AT_ONCE, GOOD_EVERY = 20_261_127, 32, 20
ANSWER_SECONDS, TORN_SECONDS, WAIT_SECONDS = 60.0, 0.3, 120.0
LARGE = 30_000
FRAMING = (b"content-length", b"transfer-encoding", b"expect", b"upgrade")
# 503 is foreseen where a part is away: none is, here.
FORESEEN = {
    200,
    202,
    204,
    301,
    307,
    308,
    400,
    401,
    403,
    404,
    405,
    408,
    413,
    414,
    415,
    422,
    429,
    431,
}
IDS = (
    "u1",
    "a/b",
    "课",
    "%00",
    "%ff",
    "..",
    "%2e%2e%2f",
    "a" * 300,
    "'; DROP TABLE x",
    "*",
    "?",
    "#",
)
HEADS = (
    b"content-length: 99999999999999999999", b"content-length: -1", b"content-length: x",
    b"transfer-encoding: chunked", b"content-type: text/plain", b"content-type: application/json",
    b"host: evil.example", b"origin: https://evil.example", b"authorization: Bearer " + b"x" * 40,
    b"authorization: Basic %%%", b"expect: 100-continue", b"x: " + b"y" * 70_000, b"\xff\xfe: \x01",
    b"accept-encoding: \x00", b"upgrade: websocket\r\nconnection: upgrade", b"no colon", b": empty",
)  # fmt: skip
BODIES: tuple[Any, ...] = (
    None, [], {}, 7, "text", {"events": []}, {"events": [None, 1, "x", {}]},
    {"events": [{}] * 1_001}, {"events": [{"type": "click"}]}, {"served": [{"items": ["a"] * 600}]},
    {"interests": ["x" * 99]}, {"seconds": -1}, {"by": None},
    {"events": {"a": [[[[[]]]]]}}, {"events": "\ud800"},
)  # fmt: skip


def fuzzed(chance: random.Random) -> tuple[bytes, bool]:
    """A request that is changed in up to three ways; whether the server knows where it ends."""
    operation = chance.choice(OPERATIONS)
    method = operation.method
    if method == "DELETE" and chance.random() < 0.95:  # an erasure is real work for every part
        method = "GET"
    ident = chance.choice(IDS)
    path = operation.path.replace("{id}", chance.choice([ident, quote(ident, safe="")]))
    if chance.random() < 0.4:
        names = ("n", "exclude", "topic", "surface", "tenant", "hours", "limit", "state", "\x00")
        values = ("-1", "0", "999999999999", "NaN", "", "a,b,,c", "x" * 20_000, "课", "%ff", "1e9")
        path += f"?{chance.choice(names)}={chance.choice(values)}"
    body = json.dumps(chance.choice(BODIES)).encode()
    if chance.random() < 0.3:
        body = chance.choice([b"{" * 3_000, b"[" * 100_000, b"\xff\x00", body[:-1], b"1" * 6_000_000
                              if chance.random() < 0.01 else b""])  # fmt: skip
    heads = [b"host: 127.0.0.1", b"connection: close"]
    if chance.random() < 0.9:
        heads.append(b"content-length: " + str(len(body)).encode())
    if chance.random() < 0.7:
        heads.append(b"content-type: application/json")
    odd = chance.sample(HEADS, chance.choice([0, 0, 1, 2]))
    heads += odd
    line = f"{method} {path} HTTP/1.1".encode("utf-8", "surrogatepass")
    whole = b"\r\n".join([line, *heads, b"", body])
    change = chance.randrange(8)
    if change == 0:
        return whole[: chance.randrange(len(whole))], False
    if change == 1:
        at = chance.randrange(min(len(whole), 200))
        return whole[:at] + chance.randbytes(chance.randint(1, 4)) + whole[at:], False
    if change == 2:
        return chance.randbytes(chance.randint(1, 200)), False
    return whole, not any(head.startswith(FRAMING) for head in odd)


def good(number: int) -> bytes:
    """A neighbour's event, or the question for his list."""
    if number // GOOD_EVERY % 2:
        return b"GET /v1/users/neighbour/recommendations?n=5 HTTP/1.1\r\nhost: 127.0.0.1\r\n" + (
            b"connection: close\r\n\r\n"
        )
    event = {
        "type": "click", "id": f"good-{number}", "occurred_at": "2026-03-01T12:00:00Z",
        "user_id": "neighbour", "item_id": f"i{number % 300}",
    }  # fmt: skip
    body = json.dumps({"events": [event]}).encode()
    return (
        b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    ) + body


async def ask(port: int, request: bytes, whole: bool = True) -> tuple[int, bytes]:
    """Status and everything that came; 0: no answer, which a torn request need not get."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        async with asyncio.timeout(ANSWER_SECONDS if whole else TORN_SECONDS):
            writer.write(request)
            await writer.drain()
            received = await reader.read(-1)
    except OSError:  # it refuses to hear more, or waits for the rest, as it may
        pass
    finally:
        writer.close()
    received = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    head = received.split(b"\r\n", 1)[0].split(b" ")
    return (int(head[1]) if len(head) > 1 and head[1].isdigit() else 0), received


async def ask_all(port: int) -> tuple[Counter[int], list[str]]:
    """Every request; what was answered, and the answers that nobody foresaw."""
    chance, statuses = random.Random(SEED), Counter[int]()
    unforeseen: list[str] = []
    numbers = iter(range(REQUESTS))

    async def one_after_another() -> None:
        for number in numbers:
            neighbour = number % GOOD_EVERY == 0
            request, whole = (good(number), True) if neighbour else fuzzed(chance)
            status, received = await ask(port, request, whole)
            statuses[status] += 1
            # Who is refused while he still sends may lose the answer: TCP resets the connection.
            foreseen = FORESEEN | ({0} if not whole or len(request) > LARGE else set())
            fine = status in ((200, 202) if neighbour else foreseen)
            if not fine and len(unforeseen) < 20:
                unforeseen.append(f"{status} to {request[:90]!r}: {received[-90:]!r}")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(one_after_another())
    return statuses, unforeseen


@pytest.mark.kafka
@pytest.mark.timeout(3_600)
def test_a_hundred_thousand_fuzzed_requests_leave_their_neighbours_whole(parts: Parts) -> None:
    began = time.monotonic()
    statuses, unforeseen = asyncio.run(ask_all(urlsplit(parts.page_url).port or 0))
    parts.check()
    assert not unforeseen, "\n".join(unforeseen)
    wanted = {f"good-{number}": 1 for number in range(0, REQUESTS, 2 * GOOD_EVERY)}
    found: dict[str, int] = {}
    warehouse = Warehouse(parts.stack.clickhouse_url)
    until = time.monotonic() + WAIT_SECONDS
    while found != wanted and time.monotonic() < until:
        sql = "SELECT id, count() AS n FROM interactions WHERE id LIKE 'good-%' GROUP BY id"
        found = {row["id"]: row["n"] for row in warehouse.query(sql)}
        time.sleep(1)
    warehouse.close()
    assert found == wanted
    print(f"{REQUESTS:,} requests in {time.monotonic() - began:.0f} s: {dict(statuses)}")
