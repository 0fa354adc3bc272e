"""From the deciding comment to the webhook, through everything, with a real Alertmanager."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka import KafkaConsumer, TopicPartition

import infra
from infra.alert_marks import utc_now
from infra.alerting_silence import silence
from infra.local.ports import free_port
from streams import topics

pytestmark = pytest.mark.kafka

CONFIG = Path(infra.__file__).parent / "alertmanager" / "alertmanager.yml"
ITEMS = 40
SCANDAL = 14  # comments
DAYS = 3.0  # of calm, from which the monitor knows what is usual
QUIET_SECONDS = 12  # of old comments: then the monitor waits for no more of them
GOOD = ("老师讲得很清楚，受益匪浅", "Great course, well explained", "内容充实，推荐")
BAD = (
    "视频打不开，退款也没人理，太差了",
    "Terrible, I want my money back",
    "骗人的课程，客服不理人",
)


class Pager:
    """A webhook of Alertmanager's: when each (tenant, key) was first heard of, wall clock."""

    def __init__(self) -> None:
        self.heard: dict[tuple[str, str], float] = {}
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                now = time.time()
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                for alert in body["alerts"]:
                    labels = alert["labels"]
                    heard.setdefault((labels["tenant"], labels["key"]), now)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/alerts"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def pager() -> Iterator[Pager]:
    receiver = Pager()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture(scope="module")
def alertmanager(pager: Pager, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's Alertmanager with our configuration, but for the receiver's address."""
    binary = shutil.which("prometheus-alertmanager")
    if binary is None:
        reason = "no prometheus-alertmanager: apt-get install prometheus-alertmanager"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    folder, port = tmp_path_factory.mktemp("alertmanager"), free_port()
    config = folder / "alertmanager.yml"
    text = CONFIG.read_text("utf-8")
    assert "http://host.docker.internal:9095/alerts" in text
    config.write_text(text.replace("http://host.docker.internal:9095/alerts", pager.url), "utf-8")
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [binary, f"--config.file={config}", f"--storage.path={folder / 'data'}",
             f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="],
            stdout=log, stderr=log,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while not _ready(url):
            assert time.monotonic() < deadline, (folder / "log").read_text("utf-8")
            time.sleep(0.1)
        yield url
        process.terminate()
        process.wait(10)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def comment(
    number: int, item: str, text: str, at: datetime | None = None
) -> tuple[str, bytes, bytes]:
    """A comment of now, or of another time; everyone is an author of his own."""
    fields = {
        "id": f"am{number}", "type": "comment", "user_id": f"am-u{number}", "item_id": item,
        "occurred_at": (at or datetime.now(UTC)).isoformat(), "text": text,
    }  # fmt: skip
    return topics.COMMENTS, f"default/am-u{number}".encode(), json.dumps(fields).encode()


def test_the_deciding_comment_is_heard_and_how_soon_is_printed(
    deployment: Any, alertmanager: str, pager: Pager, record_property: Any
) -> None:
    deployment.environment["SPRINGTIDE_ALERTMANAGER_URL"] = alertmanager
    worker = deployment.worker()
    rng, number = random.Random(7), 0
    start, ordinary = datetime.now(UTC) - timedelta(days=DAYS), []
    for number in range(800):
        text = rng.choice(BAD if number % 8 == 0 else GOOD)
        at = start + timedelta(days=(DAYS - 0.1) * number / 800)
        ordinary.append(comment(number, f"am-{rng.randrange(ITEMS)}", text, at))
    deployment.send(ordinary)
    while sum(deployment.archived("scored_comments").values()) < 800:
        time.sleep(0.5)
    time.sleep(QUIET_SECONDS)
    for item in range(ITEMS):  # one scandal after the other, 20 comments a second
        for _ in range(SCANDAL):
            number += 1
            deployment.send([comment(number, f"am-{item}", rng.choice(BAD))])
            time.sleep(0.05)
    wanted = {f"item:am-{item}" for item in range(ITEMS)}
    deadline = time.monotonic() + 20
    while len(wanted & {key for _, key in pager.heard}) < ITEMS and time.monotonic() < deadline:
        time.sleep(0.2)
    told = {
        alert["key"]: (alert, appended)
        for alert, appended in _alerts(deployment.servers)
        if alert["key"] in wanted and alert["state"] == "firing"
    }
    worker.end()
    assert len(told) >= ITEMS * 0.9, f"only {sorted(told)} fired"
    to_topic, to_webhook = [], []
    for key, (alert, appended) in told.items():
        decided = datetime.fromisoformat(alert["raised_at"]).timestamp()
        to_topic.append(appended - decided)
        to_webhook.append(pager.heard["default", key] - decided)
    for name, seconds in (("alerts.v1", sorted(to_topic)), ("webhook", sorted(to_webhook))):
        middle, slow = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)]
        record_property(name, f"p50 {middle:.3f} s, p99 {slow:.3f} s, n {len(seconds)}")
        print(f"{name}: p50 {middle:.3f} s, p99 {slow:.3f} s, n {len(seconds)}")


def _alerts(servers: list[str]) -> Iterator[tuple[dict[str, Any], float]]:
    """Every alert on alerts.v1 with its append time, epoch seconds; the first of each key last."""
    consumer = KafkaConsumer(bootstrap_servers=servers)
    parts = [TopicPartition(topics.ALERTS, n) for n in consumer.partitions_for_topic(topics.ALERTS)]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    ends = consumer.end_offsets(parts)
    found = []
    while any(consumer.position(part) < end for part, end in ends.items()):
        for records in consumer.poll(timeout_ms=500).values():
            found += [(json.loads(r.value), r.timestamp / 1000) for r in records]
    consumer.close()
    return iter(sorted(found, key=lambda each: -each[1]))


def test_a_snooze_silences_alertmanager(alertmanager: str) -> None:
    import asyncio

    labels = {"tenant": "default", "key": "item:am-1", "channel": "share"}
    now = utc_now()

    async def run() -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            until = now.replace(year=now.year + 1)
            return await silence(client, alertmanager, labels, now, until, "王芳")

    assert asyncio.run(run())
    (found,) = httpx.get(f"{alertmanager}/api/v2/silences", trust_env=False).json()
    assert found["status"]["state"] == "active" and found["createdBy"] == "王芳"
    assert {each["name"]: each["value"] for each in found["matchers"]} == labels
