"""How many lists a second are served: from Redis itself, and through the HTTP API on one core.

Real Valkey and broker, the real API process with tokens, pinned to one core; the load comes from a
process of its own on the others. Every request of the API filters by topic, names its surface and
excludes items, and what it shows is recorded on served.v1. Per core second: answers ÷ the CPU
seconds of the API; of the reads from Redis, ÷ those of reader and Valkey together.
"""

from __future__ import annotations

import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from infra.local.broker import BrokerChoice
from infra.local.ports import free_port
from infra.local.stack import LocalStack
from infra.local.supervisor import ProcessSpec
from infra.security import kafka_client
from infra.serving import ListWrite, RedisTopKStore, StoredList
from infra.settings import Settings, UserError
from streams import topics
from streams.bench_ingest import cpu_seconds
from streams.bench_load import TENANT, Load, Loaded, item_name, topic_name, user_name
from streams.events import Item, encode, item_key

AT_ONCE = 1_000
TTL_SECONDS = 86_400.0
START_SECONDS = 60.0
API = "api"
HTTP_CLIENT = "asyncio streams, kept alive"
LIST_CLIENT = "redis-py with hiredis, one GET at a time, decoded"

Progress = Callable[[str, float], None]


class ServeOptions(Struct, frozen=True):
    """What to measure; `seconds` of each run, `readers` connections to the API."""

    users: int = 10_000
    items: int = 10_000
    list_size: int = 50
    seconds: float = 5.0
    runs: int = 5
    readers: int = 4
    broker: BrokerChoice = "auto"
    seed: int = 7


class Run(NamedTuple):
    """One run: rates, and times in milliseconds."""

    per_second: float
    per_core_second: float
    p50_ms: float
    p99_ms: float


def bench_serve(
    options: ServeOptions, settings: Settings, folder: Path, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """Lists served a second; medians of the runs.

    Args:
        folder: new or empty; the parts keep their data there.
        progress: told what is being done, and which share of it is done.

    Returns:
        `per_second`, `per_core_second`, `p50_ms` and `p99_ms` of the API, the same under `redis`
        for reads of the lists themselves, clients, broker, components and sizes.

    Raises:
        UserError: something could not be started, or an answer was wrong.
    """
    progress("starting everything", 0.0)
    with LocalStack(folder, options.broker, settings.kafka_folder, given=settings) as stack:
        bench = _Bench(stack, folder, options)
        bench.fill()
        bench.start_api()
        found: dict[str, list[Run]] = {"lists": [], "http": []}
        for number in range(options.runs):
            for name, runs in found.items():
                progress(f"run {number + 1}: {name}", number / options.runs)
                runs.append(bench.run(name))
        broker = stack.broker
    return {
        **_medians(found["http"]),
        "client": HTTP_CLIENT,
        "redis": {**_medians(found["lists"]), "client": LIST_CLIENT},
        "broker": broker,
        "components": [broker, "valkey", "clickhouse", "webhook", "api"],
        "filters": ["topic", "surface", "exclude"],
        "users": options.users,
        "items": options.items,
        "list_size": options.list_size,
        "readers": options.readers,
        "seconds": options.seconds,
        "runs": options.runs,
    }


def _medians(runs: list[Run]) -> dict[str, float]:
    return {
        name: round(statistics.median(getattr(run, name) for run in runs), 3)
        for name in Run._fields
    }


class _Bench:
    def __init__(self, stack: LocalStack, folder: Path, options: ServeOptions) -> None:
        self._stack, self._folder, self._options = stack, folder, options
        self._token = secrets.token_hex(24)
        self._url = ""
        cores = sorted(os.sched_getaffinity(0))
        self._api_core, self._others = cores[:1], cores[1:] or cores

    def fill(self) -> None:
        """The catalogue into Kafka, and everybody's list into Redis."""
        from kafka import KafkaProducer

        topics.apply(self._stack.kafka_url)
        producer = KafkaProducer(**kafka_client(self._stack.kafka_url))
        for number in range(self._options.items):
            words = (topic_name(number), topic_name(number // 8 + number + 1))
            item = Item(item_id=item_name(number), title=f"Course {number}", topics=words)
            producer.send(topics.ITEMS, key=item_key(TENANT, item.item_id), value=encode(item))
        producer.flush()
        producer.close()
        store = RedisTopKStore.connect(self._stack.redis_url)
        for start in range(0, self._options.users, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, self._options.users))
            store.write_many([self._list(number) for number in numbers], TTL_SECONDS)
        store.close()

    def _list(self, number: int) -> ListWrite:
        random = Random(f"{self._options.seed}/{number}")
        size = min(self._options.list_size, self._options.items)
        items = [item_name(i) for i in random.sample(range(self._options.items), size)]
        scores = [round(1.0 - place / size, 4) for place in range(size)]
        stored = StoredList(1, (1, number + 1), int(time.time() * 1000), items, scores, "blend", 0)
        return ListWrite(TENANT, user_name(number), stored)

    def start_api(self) -> None:
        """The real API, on one core with all its threads."""
        port, tokens = free_port(), self._folder / "tokens"
        tokens.touch(mode=0o600)
        tokens.write_text(f"{self._token} {TENANT} read\n")
        command = (sys.executable, "-m", "streams.cli", "api", "--port", str(port))
        environment = {
            **self._stack.environment(),
            "SPRINGTIDE_API_TOKENS_FILE": str(tokens),
            "SPRINGTIDE_API_REQUESTS_PER_SECOND": "1000000",
        }
        spec = ProcessSpec(name=API, command=command, environment=environment, announces=True)
        self._stack.supervisor.start(spec, timeout_seconds=START_SECONDS)
        for thread in Path(f"/proc/{self._stack.supervisor.pid(API)}/task").iterdir():
            os.sched_setaffinity(int(thread.name), self._api_core)
        self._url = f"http://127.0.0.1:{port}"

    def run(self, what: str) -> Run:
        """One run of one of the two loads."""
        part = API if what == "http" else "valkey"
        pid = self._stack.supervisor.pid(part)
        before = cpu_seconds(pid)
        loaded = self._load(what)
        cpu = cpu_seconds(pid) - before + (loaded.cpu_seconds if what == "lists" else 0.0)
        if loaded.wrong:
            raise UserError(f"{loaded.wrong} of {loaded.answers} answers were wrong ({what})")
        rate = loaded.answers / loaded.seconds
        return Run(rate, loaded.answers / cpu, loaded.p50_ms, loaded.p99_ms)

    def _load(self, what: str) -> Loaded:
        options = self._options
        load = Load(
            "http" if what == "http" else "lists",
            self._url if what == "http" else self._stack.redis_url,
            options.seconds,
            options.users,
            options.items,
            options.readers,
            self._token if what == "http" else "",
            options.seed,
        )
        done = subprocess.run(
            [sys.executable, "-m", "streams.bench_load", msgspec.json.encode(load).decode()],
            capture_output=True,
            timeout=options.seconds + START_SECONDS,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, self._others),
        )
        if done.returncode:
            raise UserError(f"the load ended: {done.stderr.decode(errors='replace')[-300:]}")
        return msgspec.json.decode(done.stdout, type=Loaded)
