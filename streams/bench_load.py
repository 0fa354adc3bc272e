"""The load of `bench serve`, in a process of its own: readers that ask, wait and ask again.

python -m streams.bench_load '{"what":"http","port":8080,"seconds":5,…}' prints one JSON object.
The HTTP client is asyncio's streams over kept-alive connections, nothing between it and the socket,
so that the API, not its client, is what is measured; the list reader is redis-py with hiredis and
decodes every list, as a platform would.
"""

from __future__ import annotations

import asyncio
import sys
import time
from random import Random
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
import numpy as np
from msgspec import Struct

TENANT = "default"
TOPICS = 8  # in the catalogue; an item has two


class Load(Struct, frozen=True):
    """What to ask for.

    Attributes:
        url: of the API or of Redis.
        readers: connections of the HTTP client; the list reader has one.
    """

    what: Literal["http", "lists"]
    url: str
    seconds: float
    users: int
    items: int
    readers: int = 4
    token: str = ""
    seed: int = 7


class Loaded(Struct, frozen=True):
    """What came back. Times are milliseconds from the question to the whole answer.

    Attributes:
        wrong: answers that were an error, or held nothing.
        cpu_seconds: that the client itself took, both modes.
    """

    answers: int
    seconds: float
    p50_ms: float
    p99_ms: float
    wrong: int
    cpu_seconds: float


def user_name(number: int) -> str:
    """A user of the bench."""
    return f"user-{number:06d}"


def item_name(number: int) -> str:
    """An item of the bench."""
    return f"course-{number:06d}"


def topic_name(number: int) -> str:
    """A topic of the bench."""
    return f"topic-{number % TOPICS}"


def question(load: Load, random: Random) -> bytes:
    """A request for ten places of a list, of one topic, without five items."""
    without = ",".join(item_name(random.randrange(load.items)) for _ in range(5))
    user, topic = user_name(random.randrange(load.users)), topic_name(random.randrange(TOPICS))
    host = urlsplit(load.url).netloc
    return (
        f"GET /v1/users/{user}/recommendations?n=10&topic={topic}&surface=home&exclude={without} "
        f"HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {load.token}\r\n\r\n"
    ).encode()


async def ask_api(load: Load) -> Loaded:
    """Ask the API on `readers` connections at once."""
    taken: list[float] = []
    wrong = 0
    began = time.perf_counter()
    end = began + load.seconds

    async def reader(number: int) -> None:
        nonlocal wrong
        random = Random(f"serve/{load.seed}/{number}")
        address = urlsplit(load.url)
        reading, writing = await asyncio.open_connection(address.hostname, address.port)
        while (asked := time.perf_counter()) < end:
            writing.write(question(load, random))
            head = await reading.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reading.readexactly(length)
            taken.append(time.perf_counter() - asked)
            wrong += not head.startswith(b"HTTP/1.1 200") or b'"item_id"' not in body
        writing.close()

    await asyncio.gather(*(reader(number) for number in range(load.readers)))
    return _summary(taken, time.perf_counter() - began, wrong)


def read_lists(load: Load) -> Loaded:
    """Read one list after the other from Redis, a GET each, and decode it."""
    from redis import Redis

    from infra.serving_lists import decode_list, list_key

    random = Random(f"lists/{load.seed}")
    client = Redis.from_url(load.url)
    taken: list[float] = []
    wrong = 0
    began = time.perf_counter()
    while (asked := time.perf_counter()) < began + load.seconds:
        user = user_name(random.randrange(load.users))
        stored: Any = client.get(list_key(TENANT, user))
        found = decode_list(stored)
        taken.append(time.perf_counter() - asked)
        wrong += found is None or not found.items
    return _summary(taken, time.perf_counter() - began, wrong)


def _summary(taken: list[float], seconds: float, wrong: int) -> Loaded:
    p50, p99 = np.percentile(np.array(taken) * 1000, (50, 99))
    cpu = time.process_time()
    return Loaded(len(taken), seconds, round(float(p50), 3), round(float(p99), 3), wrong, cpu)


if __name__ == "__main__":
    asked_for = msgspec.json.decode(sys.argv[1], type=Load)
    if asked_for.what == "http":
        import uvloop

        answer = uvloop.run(ask_api(asked_for))
    else:
        answer = read_lists(asked_for)
    print(msgspec.json.encode(answer).decode(), flush=True)
