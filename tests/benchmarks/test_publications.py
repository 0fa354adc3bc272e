"""How long what an item says takes to reach a list, all parts real, and without the model; nightly.

The catalogue is in Chinese, what is published in English, and nothing has a tag: hardly a word is
shared, so that the embedding must have arrived before an item can be listed.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from kafka import KafkaProducer

from infra import warehouse
from infra.local.proxy import Proxies
from infra.local.stack import LocalStack
from infra.security import kafka_servers
from infra.serving import RedisTopKStore
from streams import topics
from streams.events import Item, encode
from streams.simulate_catalogue import STAGES, make_catalogue

CATALOGUE, PUBLICATIONS, CHANGES, AWAY = 240, 100, 30, 20
PAUSE, AWAY_SECONDS = 0.05, 60.0
PROGRAM = "from streams.cli import main; main()"
TENANT, MODEL = "publications", "model"
COURSES = make_catalogue(CATALOGUE, TENANT, 0.0, seed=3)
OF_SUBJECT = len(STAGES)

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]


def chinese(n: int) -> str:
    return COURSES[n].zh + STAGES[n % OF_SUBJECT][0]


def english(n: int) -> str:
    return f"{COURSES[n].en}: {STAGES[n % OF_SUBJECT][1]}"


class Platform:
    """Producer and reader of one tenant, and what its worker says of itself."""

    def __init__(self, stack: LocalStack, worker_url: str) -> None:
        self.url, self.clicks = worker_url, 0
        servers = kafka_servers(stack.kafka_url)
        self.producer = KafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=0)
        self.store = RedisTopKStore.connect(stack.redis_url)

    def publish(self, item: str, title: str, description: str = "") -> None:
        value = encode(Item(item_id=item, title=title, description=description, tenant=TENANT))
        self.producer.send(topics.ITEMS, key=f"{TENANT}/{item}".encode(), value=value)

    def click(self, user: str, item: str) -> None:
        self.clicks += 1
        event = {
            "type": "click", "id": f"c{self.clicks}", "tenant": TENANT, "user_id": user,
            "item_id": item, "occurred_at": datetime.now(UTC).isoformat(),
        }  # fmt: skip
        key = f"{TENANT}/{user}".encode()
        self.producer.send(topics.CLICKS, key=key, value=json.dumps(event).encode())

    def listed(self, user: str) -> list[str]:
        found = self.store.read(TENANT, user)
        return [] if found is None else found.items

    def until(self, user: str, again: str, holds: Callable[[list[str]], bool]) -> float:
        """Seconds until it holds of the user's list, while he clicks on what he knows."""
        since, clicked = time.monotonic(), 0.0
        while not holds(self.listed(user)):
            now = time.monotonic()
            assert now - since < 20
            if now - clicked > PAUSE:
                self.click(user, again)
                clicked = now
            time.sleep(0.002)
        return time.monotonic() - since

    def fresh(self, user: str, item: str) -> float:
        """Seconds from a click on an item to the user's next list, which is without it."""
        before = self.store.read(TENANT, user)
        self.click(user, item)
        since = time.monotonic()
        while (
            (found := self.store.read(TENANT, user)) is None
            or item in found.items
            or (before is not None and found.version <= before.version)
        ):
            assert time.monotonic() - since < 20
            time.sleep(0.002)
        return time.monotonic() - since

    def embedded(self) -> float:
        return self.metric('springtide_item_vectors_total{outcome="taken"}')

    def until_embedded(self, vectors: float, seconds: float) -> None:
        """Until so many were taken, and no item waits for one."""
        deadline = time.monotonic() + seconds
        while self.metric("springtide_items_without_vector") or self.embedded() < vectors:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.url}/metrics").text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        return float(found[1]) if found else 0.0


@pytest.fixture(scope="module")
def lines() -> Iterator[Proxies]:
    proxies = Proxies()
    yield proxies
    proxies.stop()


@pytest.fixture(scope="module")
def platform(
    stack: LocalStack, server_url: str, lines: Proxies, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """A worker that knows the catalogue in Chinese, all of it embedded."""
    topics.apply(stack.kafka_url)
    warehouse.migrate(stack.clickhouse_url)
    port = lines.line(MODEL, "127.0.0.1", urlsplit(server_url).port or 0)
    environment = {
        **os.environ, **stack.environment(),
        "SPRINGTIDE_CLASSIFIER_URL": f"http://127.0.0.1:{port}",
        "SPRINGTIDE_DATA_DIR": str(tmp_path_factory.mktemp("worker")),
        "SPRINGTIDE_LIST_SIZE": "400",
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "worker"], stdout=subprocess.PIPE, env=environment
    ) as worker:
        try:
            assert worker.stdout is not None
            platform = Platform(stack, json.loads(worker.stdout.readline())["url"])
            for n in range(CATALOGUE):
                platform.publish(f"zh{n}", chinese(n))
            platform.until_embedded(CATALOGUE, 240)
            yield platform
        finally:
            worker.terminate()


def told(what: str, seconds: list[float]) -> float:
    """Print it; the p99."""
    p50, p99 = (float(each) for each in np.percentile(seconds, (50, 99)))
    print(f"{what}: p50 {p50:.3f} s, p99 {p99:.3f} s, n = {len(seconds)}")
    return p99


def test_a_hundred_publications(platform: Platform) -> None:
    """Each is the twin, in the other language, of a course that a user has."""
    seconds = []
    for n in range(PUBLICATIONS):
        platform.click(f"u{n}", f"zh{n}")
        platform.publish(f"en{n}", english(n))
        seconds.append(platform.until(f"u{n}", f"zh{n}", lambda items, n=n: f"en{n}" in items))
    assert told("published → listed", seconds) <= 2.0


def test_changed_descriptions(platform: Platform) -> None:
    """What said nothing is the twin of what a user has: until it is listed, or rises.

    He has all courses of the subject: one alone may have fifty in its own language that are nearer.
    """
    there = platform.embedded()
    subjects = {n: range(n * OF_SUBJECT, (n + 1) * OF_SUBJECT) for n in range(CHANGES)}
    for n, subject in subjects.items():
        platform.publish(f"ch{n}", "", f"What this is about is told in week {n}")
        for each in subject:
            platform.click(f"v{n}", f"zh{each}")
    platform.until_embedded(there + CHANGES, 60)
    seconds = []
    for n, subject in subjects.items():
        user, name = f"v{n}", f"ch{n}"
        platform.fresh(user, f"zh{CATALOGUE - 1 - n}")
        before = [*platform.listed(user), name].index(name)
        platform.publish(name, "", english(subject[1]))
        seconds.append(
            platform.until(
                user, f"zh{subject[1]}",
                lambda items, name=name, before=before: name in items[:before],
            )
        )  # fmt: skip
    assert told("description changed → listed anew", seconds) <= 2.0


def test_the_model_server_is_away_for_a_minute(platform: Platform, lines: Proxies) -> None:
    """Lists go on; what was published meanwhile is listed once it is back."""
    which = range(PUBLICATIONS, PUBLICATIONS + AWAY)
    platform.until_embedded(CATALOGUE, 30)
    there = platform.embedded()
    lines.set(MODEL, "reset")
    since, lists = time.monotonic(), []
    for n in which:
        platform.publish(f"aw{n}", english(n))
    for turn, n in itertools.product(range(PUBLICATIONS), which):
        if time.monotonic() - since > AWAY_SECONDS:
            break
        lists.append(platform.fresh(f"w{n}", f"zh{(n + turn) % CATALOGUE}"))
        time.sleep(PAUSE)
    assert platform.metric("springtide_items_without_vector") == AWAY
    lines.set(MODEL, "pass")
    back = time.monotonic()
    platform.until_embedded(there + AWAY, 30)
    print(f"back → every item has its vector: {time.monotonic() - back:.1f} s")
    for n in which:
        platform.until(f"w{n}", f"zh{n}", lambda items, n=n: f"aw{n}" in items)
    assert told("a click → his next list, the server away", lists) <= 0.15
