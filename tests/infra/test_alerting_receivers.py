"""Receivers that hang, fail on one alert, or are away for a while: who waits, and what is lost."""

# ruff: noqa: F811 (fixtures come by import)
from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest

from infra import alerting, alerting_receivers
from infra.alerting import AlertSender
from tests.infra.test_alerting import (  # noqa: F401 (a fixture)
    Receiver,
    fields,
    receiver,
    send,
    until_posts,
)


def test_a_receiver_that_drips_costs_a_bounded_time(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then is an answer in time to httpx, for ever."""
    monkeypatch.setattr(alerting_receivers, "TIMEOUT_SECONDS", 0.5)
    receiver.drips = True
    began = time.monotonic()
    assert send(AlertSender(receiver.url, ""), fields()) == [False]
    assert time.monotonic() - began < 8


def test_only_the_first_alert_waits_for_a_receiver_that_is_away_and_all_are_told_later(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerting, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(alerting_receivers, "SOONEST_SECONDS", 0.2)
    receiver.statuses = [503] * 4

    async def run() -> list[bool]:
        sender = AlertSender(receiver.url, "")
        taken = [await sender.send(fields(fingerprint=f"f{n}")) for n in range(3)]
        taken.append(await sender.send(fields("resolved", fingerprint="f1")))
        assert len(receiver.posts) == 3  # for the first
        await until_posts(receiver, 8)
        taken.append(await sender.send(fields(fingerprint="f9")))
        await asyncio.sleep(0.3)
        await sender.close()
        return taken

    assert asyncio.run(run()) == [False] * 4 + [True]
    told = [(body["alerts"][0]["fingerprint"], body["status"]) for _, body in receiver.posts[4:]]
    assert told == [
        ("f1", "firing"), ("f2", "firing"), ("f1", "resolved"), ("f0", "firing"), ("f9", "firing"),
    ]  # fmt: skip


def test_an_alert_that_a_receiver_fails_on_stands_in_no_others_way(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerting, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(alerting_receivers, "SOONEST_SECONDS", 0.02)
    monkeypatch.setattr(alerting_receivers, "ATTEMPTS", 1)
    receiver.poison = "f0"

    async def run() -> int:
        sender = AlertSender(receiver.url, "")
        await sender.send(fields(fingerprint="f0"))
        await sender.send(fields("resolved", fingerprint="f0"))
        for n in range(1, 16):
            await sender.send(fields(fingerprint=f"f{n}"))
            await asyncio.sleep(0.2)
        await sender.close()
        assert sender._webhook
        return sender._webhook.kept

    assert asyncio.run(run()) == 0  # it is given up in the end
    told = [body["alerts"][0]["fingerprint"] for _, body in receiver.posts]
    assert set(told) == {f"f{n}" for n in range(16)}
    assert all(told.count(f"f{n}") == 1 for n in range(1, 16))


def test_what_is_kept_for_a_receiver_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerting_receivers, "MOST_KEPT", 5)

    async def run() -> int:
        sender = AlertSender("http://127.0.0.1:1/", "")
        for n in range(20):
            assert not await sender.send(fields(fingerprint=f"f{n}"))
        await sender.close()
        assert sender._webhook
        return sender._webhook.kept

    assert asyncio.run(run()) == 5


def test_an_alert_that_grows_ends_for_alertmanager_as_what_it_was(receiver: Receiver) -> None:
    """Alertmanager knows it by its labels: the minor one would fire on for four hours."""
    labels = fields()["labels"]
    minor, severe = (fields(labels={**labels, "severity": s}) for s in ("minor", "severe"))
    ended = fields("resolved", labels=severe["labels"])
    assert all(send(AlertSender("", receiver.url), minor, severe, severe, ended))
    now = datetime.now(UTC)
    told = [
        [(a["labels"]["severity"], datetime.fromisoformat(a["endsAt"]) > now) for a in body]
        for _, body in receiver.posts
    ]
    grown = [("minor", False), ("severe", True)]
    assert told == [[("minor", True)], grown, [("severe", True)], [("severe", False)]]


def test_an_end_is_not_overtaken_by_what_it_ends(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeated post that was under way would let it fire again, for four hours."""
    monkeypatch.setattr(alerting, "REPOST_SECONDS", 0.1)
    monkeypatch.setattr(alerting_receivers, "SOONEST_SECONDS", 0.1)

    async def run() -> None:
        sender = AlertSender("", receiver.url)
        await sender.send(fields())
        receiver.statuses, receiver.delay = [503], 0.1
        await until_posts(receiver, 2)  # the repetition, which is to be tried again
        await sender.send(fields("resolved"))
        await asyncio.sleep(1.0)
        await sender.close()

    asyncio.run(run())
    last = receiver.posts[-1][1][0]
    assert datetime.fromisoformat(last["endsAt"]) < datetime.now(UTC)


def test_a_look_that_fails_is_not_the_last(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerting, "REPOST_SECONDS", 0.05)
    asked = 0

    async def snoozed() -> set[tuple[str, str]]:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise RuntimeError("something new")
        return set()

    async def run() -> None:
        sender = AlertSender("", receiver.url, snoozed)
        await sender.send(fields())
        await asyncio.sleep(0.5)
        await sender.close()

    asyncio.run(run())
    assert len(receiver.posts) > 1
