"""How long it takes from an item's publication to a list that has it, all parts real; nightly.

The catalogue is in Chinese, what is published in English, and nothing has a tag: hardly a word is
shared, so that the embedding must have arrived before an item can be listed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from kafka import KafkaProducer

from infra import warehouse
from infra.local.stack import LocalStack
from infra.security import kafka_servers
from infra.serving import RedisTopKStore
from streams import topics
from streams.events import Item, encode
from streams.simulate_catalogue import STAGES, make_catalogue

CATALOGUE, PUBLICATIONS = 240, 100
PAUSE = 0.05
PROGRAM = "from streams.cli import main; main()"


class Platform:
    """Producer and reader of one tenant."""

    def __init__(self, stack: LocalStack, tenant: str) -> None:
        self.tenant, self.clicks = tenant, 0
        servers = kafka_servers(stack.kafka_url)
        self.producer = KafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=0)
        self.store = RedisTopKStore.connect(stack.redis_url)

    def publish(self, item: Any) -> None:
        key = f"{self.tenant}/{item.item_id}".encode()
        self.producer.send(topics.ITEMS, key=key, value=encode(item))

    def click(self, user: str, item: str) -> None:
        self.clicks += 1
        event = {
            "type": "click", "id": f"c{self.clicks}", "tenant": self.tenant, "user_id": user,
            "item_id": item, "occurred_at": datetime.now(UTC).isoformat(),
        }  # fmt: skip
        key = f"{self.tenant}/{user}".encode()
        self.producer.send(topics.CLICKS, key=key, value=json.dumps(event).encode())

    def until_listed(self, user: str, item: str, again: str, seconds: float) -> float:
        """Seconds until the user's list has the item, while he clicks on what he knows."""
        since, clicked = time.monotonic(), 0.0
        while True:
            found = self.store.read(self.tenant, user)
            now = time.monotonic()
            if found is not None and item in found.items:
                return now - since
            assert now - since < seconds, f"{item} is not listed after {seconds} s"
            if now - clicked > PAUSE:
                self.click(user, again)
                clicked = now
            time.sleep(0.002)


@pytest.mark.kafka
@pytest.mark.timeout(900)
def test_a_hundred_publications(stack: LocalStack, server_url: str, tmp_path: Path) -> None:
    topics.apply(stack.kafka_url)
    warehouse.migrate(stack.clickhouse_url)
    environment = {
        **os.environ, **stack.environment(), "SPRINGTIDE_CLASSIFIER_URL": server_url,
        "SPRINGTIDE_DATA_DIR": str(tmp_path), "SPRINGTIDE_LIST_SIZE": "400",
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "worker"], stdout=subprocess.PIPE, env=environment
    ) as worker:
        try:
            assert worker.stdout is not None
            url = json.loads(worker.stdout.readline())["url"]
            seconds = published(Platform(stack, "publications"), url)
        finally:
            worker.terminate()
    p50, p99 = np.percentile(seconds, (50, 99))
    print(f"published → listed: p50 {p50:.3f} s, p99 {p99:.3f} s, n = {len(seconds)}")
    assert p99 <= 2.0


def published(platform: Platform, worker_url: str) -> list[float]:
    """A catalogue, then twins of its courses in the other language, one at a time."""
    courses = make_catalogue(CATALOGUE, platform.tenant, time.time(), seed=3)
    stages = [STAGES[n % len(STAGES)] for n in range(CATALOGUE)]
    for n, (course, stage) in enumerate(zip(courses, stages, strict=True)):
        platform.publish(Item(item_id=f"zh{n}", title=course.zh + stage[0], tenant=platform.tenant))
    deadline = time.monotonic() + 240
    while without_vector(worker_url) or taken(worker_url) < CATALOGUE:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    seconds = []
    for n in range(PUBLICATIONS):
        platform.click(f"u{n}", f"zh{n}")
        title = f"{courses[n].en}: {stages[n][1]}"
        platform.publish(Item(item_id=f"en{n}", title=title, tenant=platform.tenant))
        seconds.append(platform.until_listed(f"u{n}", f"en{n}", f"zh{n}", 20))
    return seconds


def without_vector(url: str) -> float:
    return metric(url, "springtide_items_without_vector")


def taken(url: str) -> float:
    return metric(url, 'springtide_item_vectors_total{outcome="taken"}')


def metric(url: str, name: str) -> float:
    text = httpx.get(f"{url}/metrics").text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
    return float(found[1]) if found else 0.0
