"""Alerts to real HTTP servers: taken, refused, failing for a while, slow, and away."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from infra import alerting, alerting_receivers
from infra.alerting import AlertSender

NOW = datetime.now(UTC)


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted; answers with the statuses it was told, then with 200."""

    daemon_threads = True

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.posts: list[tuple[str, Any]] = []
        self.delay = 0.0
        self.drips = False
        self.poison = ""
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, json.loads(body)))
        time.sleep(self.server.delay)
        if self.server.drips:
            for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 30:
                self.wfile.write(bytes([letter]))
                time.sleep(0.1)
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        poisoned = self.server.poison and self.server.poison in str(body)
        self.send_response(500 if poisoned else status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    yield server
    server.shutdown()
    server.server_close()
    serving.join()


def fields(status: str = "firing", **more: Any) -> dict[str, Any]:
    return {
        "status": status,
        "fingerprint": "f00d",
        "starts_at": NOW - timedelta(hours=2),
        "ends_at": NOW - timedelta(hours=1) if status == "resolved" else None,
        "labels": {"alertname": "NegativeSpike", "tenant": "default", "key": "item:1"},
        "annotations": {"summary": "Negative comments on 课程", "examples": "lone \ud800"},
        **more,
    }


async def until_posts(receiver: Receiver, count: int) -> None:
    for _ in range(2_000):
        if len(receiver.posts) >= count:
            return
        await asyncio.sleep(0.01)


def send(sender: AlertSender, *alerts: dict[str, Any]) -> list[bool]:
    async def run() -> list[bool]:
        taken = [await sender.send(alert) for alert in alerts]
        await sender.close()
        return taken

    return asyncio.run(run())


def test_the_webhook_gets_alertmanagers_webhook_json(receiver: Receiver) -> None:
    assert send(AlertSender(receiver.url + "/hook?a=b", ""), fields(), fields("resolved")) == [
        True, True,
    ]  # fmt: skip
    (path, firing), (_, resolved) = receiver.posts
    assert path == "/hook?a=b"
    assert set(firing) == {
        "version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels",
        "commonLabels", "commonAnnotations", "externalURL", "alerts",
    }  # fmt: skip
    assert (firing["version"], firing["status"]) == ("4", "firing")
    alert = firing["alerts"][0]
    assert alert["labels"] == firing["commonLabels"] and alert["labels"]["key"] == "item:1"
    assert alert["annotations"]["summary"].endswith("课程")
    assert alert["annotations"]["examples"] == "lone ?"
    assert datetime.fromisoformat(alert["startsAt"]) == NOW - timedelta(hours=2)
    assert alert["endsAt"] == "0001-01-01T00:00:00Z" and alert["fingerprint"] == "f00d"
    assert resolved["status"] == "resolved" and resolved["groupKey"] == firing["groupKey"]
    assert datetime.fromisoformat(resolved["alerts"][0]["endsAt"]) == NOW - timedelta(hours=1)


def test_alertmanager_gets_alerts_that_stay_until_resolved(receiver: Receiver) -> None:
    sender = AlertSender("", receiver.url + "/")
    future = fields("resolved", starts_at=NOW + timedelta(hours=9), ends_at=NOW)
    assert send(sender, fields(), fields("resolved"), future) == [True] * 3
    assert {path for path, _ in receiver.posts} == {"/api/v2/alerts"}
    firing, resolved, odd = (body[0] for _, body in receiver.posts)
    assert set(firing) == {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}
    assert datetime.fromisoformat(firing["endsAt"]) > NOW + timedelta(hours=3)
    assert datetime.fromisoformat(resolved["endsAt"]) == NOW - timedelta(hours=1)
    assert odd["startsAt"] <= odd["endsAt"]


def test_a_firing_alert_is_posted_again_until_it_is_resolved(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerting, "REPOST_SECONDS", 0.1)

    async def run() -> tuple[int, int, int]:
        sender = AlertSender("", receiver.url)
        await sender.send(fields())
        await until_posts(receiver, 4)
        firing = len(receiver.posts)
        await sender.send(fields("resolved"))
        await asyncio.sleep(0.35)
        resolved = len(receiver.posts)
        await sender.close()
        await asyncio.sleep(0.25)
        return firing, resolved, len(receiver.posts)

    firing, resolved, closed = asyncio.run(run())
    assert firing >= 4
    assert closed == resolved and resolved - firing <= 2


def test_what_was_let_go_is_not_posted_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerting, "REPOST_SECONDS", 0.05)

    async def run() -> None:
        sender = AlertSender("", receiver.url)
        await sender.send(fields())
        sender.let_go()  # the monitor's next owner will tell its end
        await sender.send(fields(), ours=False)
        sender.remember(fields("resolved", fingerprint="beef"))
        receiver.posts.clear()
        await asyncio.sleep(0.3)
        await sender.close()

    asyncio.run(run())
    assert receiver.posts == []


def test_a_receiver_that_fails_for_a_while_is_tried_again(receiver: Receiver) -> None:
    receiver.statuses = [503, 429]
    assert send(AlertSender(receiver.url, ""), fields()) == [True]
    assert len(receiver.posts) == 3


@pytest.mark.parametrize(("status", "posts"), [(500, 3), (400, 1), (404, 1), (302, 1)])
def test_a_receiver_that_does_not_take_it_is_false(
    receiver: Receiver, status: int, posts: int
) -> None:
    receiver.statuses = [status] * 3
    assert send(AlertSender(receiver.url, ""), fields()) == [False]
    assert len(receiver.posts) == posts


def test_one_receiver_away_does_not_keep_the_other_from_it(receiver: Receiver) -> None:
    assert send(AlertSender("http://127.0.0.1:1/", receiver.url), fields()) == [False]
    assert len(receiver.posts) == 1


def test_a_slow_receiver_costs_a_bounded_time(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerting_receivers, "TIMEOUT_SECONDS", 0.2)
    receiver.delay = 1.0
    began = time.monotonic()
    assert send(AlertSender(receiver.url, ""), fields()) == [False]
    assert time.monotonic() - began < 5


def test_a_whole_link_is_where_an_alert_comes_from(receiver: Receiver) -> None:
    link = "https://ops.example/?tenant=default#alert=f00d"
    said = fields()["annotations"]
    for given, url in ((link, link), ("/#alert=f00d", "")):
        linked = fields(annotations={**said, "link": given})
        assert all(send(AlertSender(receiver.url, receiver.url), linked))
        bodies = [body for _, body in receiver.posts[-2:]]
        found = [b["alerts"][0] if isinstance(b, dict) else b[0] for b in bodies]
        assert {alert["generatorURL"] for alert in found} == {url}


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://[bad", "ftp://127.0.0.1/"])
def test_an_unusable_url_is_false_and_not_a_crash(url: str) -> None:
    assert send(AlertSender(url, ""), fields()) == [False]


def test_with_no_receiver_there_is_nothing_to_fail() -> None:
    assert send(AlertSender("", ""), fields()) == [True]


def test_the_receiver_of_the_local_parts_takes_it(stack: Any) -> None:
    fingerprint = f"f-{time.time_ns()}"
    assert send(AlertSender(stack.webhook_url, ""), fields(fingerprint=fingerprint)) == [True]
    assert fingerprint in [alert["fingerprint"] for alert in stack.received_alerts()]
    last = httpx.get(stack.webhook_url, trust_env=False).json()[-1]
    assert last["alerts"][0]["labels"]["alertname"] == "NegativeSpike"


def test_logs_hold_neither_url_nor_comment(capsys: pytest.CaptureFixture[str]) -> None:
    send(AlertSender("http://127.0.0.1:1/secret-token", ""), fields())
    said = "".join(capsys.readouterr())
    assert "alert.not_delivered" in said
    assert "secret-token" not in said and "课程" not in said


def test_a_snoozed_alert_is_told_again_when_its_time_is_over(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerting, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(alerting, "REPOST_SECONDS", 0.1)
    snoozed: set[tuple[str, str]] = set()

    async def asked() -> set[tuple[str, str]]:
        return set(snoozed)

    async def run() -> None:
        sender = AlertSender(receiver.url, receiver.url, asked)
        tenant = fields()["labels"].get("tenant", "")
        snoozed.add((tenant, fields()["fingerprint"]))
        assert await sender.send(fields())  # a new alert is told at once, whatever is known
        await asyncio.sleep(0.2)
        quiet = len(receiver.posts)
        assert await sender.send(fields())  # graver: not while it is snoozed
        await asyncio.sleep(0.3)
        assert len(receiver.posts) == quiet
        snoozed.clear()
        await asyncio.sleep(0.3)
        told = receiver.posts[quiet:]
        assert "version" in str(told) and "endsAt" in str(told)  # the webhook and Alertmanager
        snoozed.add((tenant, fields()["fingerprint"]))
        await asyncio.sleep(0.2)
        await sender.send(fields("resolved"))
        assert "resolved" in str(receiver.posts[-2:])  # its end is told, snoozed or not
        await sender.close()

    asyncio.run(run())
