"""A deployment on real parts: the real Kafka, Valkey, chDB, the classifier, and workers to kill."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from infra import warehouse
from infra.local.stack import LocalStack
from infra.security import kafka_servers
from infra.warehouse import Warehouse
from streams import topics
from streams.commands.checkpoints import summarise

SPRINGTIDE = str(Path(sys.executable).with_name("springtide"))
Record = tuple[str, bytes, bytes]  # topic, key, value


class Process:
    """A `springtide` process that says when it is ready."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self._log = log.open("ab")
        self.popen = subprocess.Popen(
            [SPRINGTIDE, *arguments],
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **environment},
        )
        self.log = log
        self.url = ""

    def ready(self) -> dict[str, Any]:
        """What it announced; fails with its log where it died instead."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        assert line, self.log.read_text("utf-8", "replace")[-3000:]
        announced: dict[str, Any] = json.loads(line)
        self.url = announced.get("url", "")
        return announced

    def lags(self) -> dict[tuple[str, str], float]:
        """What the worker's metric says of each (topic, partition)."""
        text = urlopen(f"{self.url}/metrics", timeout=10).read().decode()
        return {
            (one.labels["topic"], one.labels["partition"]): one.value
            for family in text_string_to_metric_families(text)
            for one in family.samples
            if one.name == "springtide_lag_records"
        }

    def end(self, number: int = signal.SIGTERM, timeout: float = 30) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.popen.send_signal(number)
        code = self.popen.wait(timeout)
        self._log.close()
        return code


class Deployment:
    """The embedded parts, a classifier, and any number of workers; counts from outside."""

    def __init__(self, stack: LocalStack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.environment = {
            **stack.environment(),
            "SPRINGTIDE_DATA_DIR": str(folder),
            "SPRINGTIDE_CHECKPOINT_SECONDS": "0.5",
        }
        self.servers = kafka_servers(stack.kafka_url)
        self.sent: dict[tuple[str, int], set[int]] = {}
        self._producer = KafkaProducer(
            bootstrap_servers=self.servers, acks="all", linger_ms=2, max_request_size=2_000_000
        )
        self.workers: list[Process] = []

    def start(self, name: str, *arguments: str) -> Process:
        """Start `springtide name …` here."""
        return Process([name, *arguments], self.environment, self.folder / f"{name}.log")

    def worker(self) -> Process:
        """Start a worker and wait until it is of use."""
        worker = self.start("worker")
        self.workers.append(worker)
        worker.ready()
        return worker

    def send(self, records: Iterable[Record]) -> None:
        """Produce, and note the offsets that Kafka acknowledged."""
        futures = [
            self._producer.send(topic, key=key, value=value) for topic, key, value in records
        ]
        self._producer.flush(60)
        for future in futures:
            at = future.get(60)
            self.sent.setdefault((at.topic, at.partition), set()).add(at.offset)

    def checkpoint(self) -> dict[str, Any]:
        """What a fresh reader finds in the checkpoint files."""
        return summarise(str(self.folder / "checkpoints"))

    def wait_until_kept(self, timeout: float = 120) -> dict[str, Any]:
        """Wait until every sent event is accounted for in a checkpoint."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            kept = self.checkpoint()
            behind = {
                f"{topic}/{partition}": max(offsets)
                for (topic, partition), offsets in self.sent.items()
                if kept["offsets"].get(f"{topic}/{partition}", -1) < max(offsets)
            }
            # Scored comments are learned later than their comments are scored.
            if not behind and self.balance(kept) == 0:
                return kept
            time.sleep(0.3)
        log = (self.folder / "worker.log").read_text("utf-8", "replace")[-4000:]
        raise AssertionError(f"behind: {behind}, balance {self.balance(kept)}\n{kept}\n{log}")

    def dead_letters(self) -> list[dict[str, Any]]:
        """Read back from the topic, each source once."""
        consumer = KafkaConsumer(bootstrap_servers=self.servers)
        here = TopicPartition(topics.DEAD_LETTER, 0)
        consumer.assign([here])
        consumer.seek_to_beginning(here)
        end = consumer.end_offsets([here])[here]
        found: dict[tuple[str, int, int], dict[str, Any]] = {}
        while consumer.position(here) < end:
            for record in consumer.poll(timeout_ms=500).get(here, ()):
                letter = json.loads(record.value)
                found[letter["topic"], letter["partition"], letter["offset"]] = letter
        consumer.close()
        return list(found.values())

    def balance(self, kept: dict[str, Any]) -> int:
        """Events in, less learned, duplicates, ignored, dead letters: 0, or something is lost."""
        events_in = sum(
            len(offsets)
            for (topic, _), offsets in self.sent.items()
            if topic in topics.INTERACTION_TOPICS
        )
        dead = sum(one["topic"] in topics.INTERACTION_TOPICS for one in self.dead_letters())
        accounted = kept["events_learned"] + kept["duplicates"] + kept["ignored"] + dead
        return events_in - accounted

    def archived(self, table: str) -> Counter[tuple[str, int, int]]:
        """How often each record of Kafka has a row in a table."""
        client = Warehouse(self.stack.clickhouse_url)
        rows = client.query(
            f"SELECT topic, `partition`, offset, count() AS n FROM {table} GROUP BY ALL"
        )
        client.close()
        return Counter({(r["topic"], r["partition"], r["offset"]): r["n"] for r in rows})

    def close(self) -> None:
        """End what still runs."""
        self._producer.close()
        for worker in self.workers:
            if worker.popen.poll() is None:
                worker.end(signal.SIGKILL)


def event(kind: str, number: int, user: str, item: str, **changes: Any) -> Record:
    """An interaction as a platform would send it."""
    fields: dict[str, Any] = {
        "id": f"e{number}",
        "type": kind,
        "occurred_at": datetime.fromtimestamp(1_760_000_000 + number, UTC).isoformat(),
        "user_id": user,
        "item_id": item,
    }
    if kind == "comment":
        fields["text"] = random.Random(number).choice(
            ["很好的课程，老师讲得清楚", "Terrible, I want my money back.", "It starts on Monday."]
        )
    fields |= changes
    return topics.TOPIC_OF_TYPE[kind], f"default/{user}".encode(), json.dumps(fields).encode()


@pytest.fixture(scope="session")
def make_event() -> Any:
    return event


@pytest.fixture(scope="module")
def deployment(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    with LocalStack(folder / "parts", broker="kafka", kafka_home=kafka_home) as stack:
        topics.apply(stack.kafka_url)
        warehouse.migrate(stack.clickhouse_url)
        deployed = Deployment(stack, folder)
        classifier = deployed.start("classifier", "--port", "0")
        deployed.environment["SPRINGTIDE_CLASSIFIER_URL"] = classifier.ready()["url"]
        try:
            yield deployed
        finally:
            deployed.close()
            classifier.end()
