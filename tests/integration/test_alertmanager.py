"""From the deciding comment to the webhook, through everything, with a real Alertmanager."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka import KafkaConsumer, TopicPartition

import infra
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


class Alertmanager:
    """Debian's Alertmanager with our configuration, but for the receiver's address."""

    def __init__(self, folder: Path, pager_url: str) -> None:
        binary = shutil.which("prometheus-alertmanager")
        if binary is None:
            reason = "no prometheus-alertmanager: apt-get install prometheus-alertmanager"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
        self.folder, port = folder, free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = folder / "alertmanager.yml"
        text = CONFIG.read_text("utf-8")
        assert "http://host.docker.internal:9095/alerts" in text
        config.write_text(
            text.replace("http://host.docker.internal:9095/alerts", pager_url), "utf-8"
        )
        self._command = [
            str(binary), f"--config.file={config}", f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not _ready(self.url):
            assert time.monotonic() < deadline, (self.folder / "log").read_text("utf-8")
            time.sleep(0.1)

    def end(self, number: int = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(10)

    def forget_all(self) -> None:
        """Killed, its storage lost, and started again."""
        self.end(signal.SIGKILL)
        shutil.rmtree(self.folder / "data")
        self.start()

    def firing(self) -> set[str]:
        """Keys of the alerts that it holds."""
        alerts = httpx.get(f"{self.url}/api/v2/alerts?active=true", trust_env=False).json()
        return {alert["labels"]["key"] for alert in alerts}


@pytest.fixture(scope="module")
def alertmanager(pager: Pager, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    process = Alertmanager(tmp_path_factory.mktemp("alertmanager"), pager.url)
    process.start()
    yield process
    process.end()


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


def calm(deployment: Any, alertmanager: Alertmanager) -> Any:
    """A worker that has seen some days of usual comments."""
    deployment.environment["SPRINGTIDE_ALERTMANAGER_URL"] = alertmanager.url
    worker, rng = deployment.worker(), random.Random(7)
    if deployment.archived("scored_comments"):
        return worker
    start, ordinary = datetime.now(UTC) - timedelta(days=DAYS), []
    for number in range(800):
        text = rng.choice(BAD if number % 8 == 0 else GOOD)
        at = start + timedelta(days=(DAYS - 0.1) * number / 800)
        ordinary.append(comment(number, f"am-{rng.randrange(ITEMS)}", text, at))
    deployment.send(ordinary)
    while sum(deployment.archived("scored_comments").values()) < 800:
        time.sleep(0.5)
    time.sleep(QUIET_SECONDS)
    return worker


def until(holds: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.2)


def test_the_deciding_comment_is_heard_and_how_soon_is_printed(
    deployment: Any, alertmanager: Alertmanager, pager: Pager, record_property: Any
) -> None:
    worker, number, rng = calm(deployment, alertmanager), 800, random.Random(7)
    for item in range(ITEMS):  # one scandal after the other, 20 comments a second
        for _ in range(SCANDAL):
            number += 1
            deployment.send([comment(number, f"am-{item}", rng.choice(BAD))])
            time.sleep(0.05)
    wanted = {f"item:am-{item}" for item in range(ITEMS)}
    with contextlib.suppress(AssertionError):  # what is missing is said below
        until(lambda: len(wanted & {key for _, key in pager.heard}) == ITEMS, 20)
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


def test_kill_nine_in_an_incident_loses_and_doubles_no_alert(
    deployment: Any, alertmanager: Alertmanager
) -> None:
    worker = calm(deployment, alertmanager)
    keys = [f"item:kn-{n}" for n in range(3)]

    def say(item: int, texts: Sequence[str], count: int, first: int, later: float = 0.0) -> None:
        at = datetime.now(UTC) + timedelta(seconds=later)
        numbers = range(10_000 + first, 10_000 + first + count)
        deployment.send([comment(n, f"kn-{item}", texts[n % len(texts)], at) for n in numbers])

    def told(state: str = "firing") -> Counter[tuple[str, str, str]]:
        """How often each (key, fingerprint, severity) was told."""
        alerts = [alert for alert, _ in _alerts(deployment.servers) if alert["key"] in keys]
        found = [a for a in alerts if a["state"] == state]
        return Counter((a["key"], a["fingerprint"], a["severity"]) for a in found)

    for item in range(2):
        say(item, BAD, SCANDAL, 100 * item)
    until(lambda: {key for key, *_ in told()} == set(keys[:2]))
    say(2, BAD, SCANDAL, 200)
    time.sleep(0.2)  # the third is being scored, decided or told
    worker.end(signal.SIGKILL)
    alertmanager.forget_all()
    worker = deployment.worker()
    until(lambda: {key for key, *_ in told()} == set(keys))
    say(0, BAD, 6, 300)  # the incident goes on
    until(lambda: set(keys) <= alertmanager.firing())
    fingerprints = {key: fingerprint for key, fingerprint, _ in told()}
    say(0, GOOD, 60, 400, later=290)  # an incident ends in another step than it began in
    until(lambda: told("resolved"))
    worker.end()
    assert max(told().values()) == 1
    assert len({(key, fingerprint) for key, fingerprint, _ in told()}) == len(keys)
    ((key, fingerprint, _),) = told("resolved")
    assert key == keys[0] and fingerprint == fingerprints[key]
