"""Receivers that hang, fail on one alert, or are away for a while: who waits, and what is lost."""

# ruff: noqa: F811 (fixtures come by import)
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

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


async def until_none_kept(sender: AlertSender) -> None:
    deadline = time.monotonic() + 30
    while sender._webhook and sender._webhook.kept:
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


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
    monkeypatch.setattr(alerting_receivers, "SOONEST_SECONDS", 60.0)
    monkeypatch.setattr(alerting_receivers, "LATEST_SECONDS", 0.05)
    receiver.statuses = [503] * 4

    async def run() -> list[bool]:
        sender = AlertSender(receiver.url, "")
        assert sender._webhook
        taken = [await sender.send(fields(fingerprint=f"f{n}")) for n in range(3)]
        taken.append(await sender.send(fields("resolved", fingerprint="f1")))
        assert len(receiver.posts) == 3  # for the first
        sender._webhook._ask_at = 0.0
        await until_none_kept(sender)
        taken.append(await sender.send(fields(fingerprint="f9")))
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
    monkeypatch.setattr(alerting_receivers, "LATEST_SECONDS", 0.1)
    monkeypatch.setattr(alerting_receivers, "ATTEMPTS", 1)
    receiver.poison = "f0"

    async def run() -> int:
        sender = AlertSender(receiver.url, "")
        assert sender._webhook
        await sender.send(fields(fingerprint="f0"))
        await sender.send(fields("resolved", fingerprint="f0"))
        others, deadline = 0, time.monotonic() + 30
        while sender._webhook.kept and time.monotonic() < deadline:
            others += 1
            await sender.send(fields(fingerprint=f"f{others}"))
            await asyncio.sleep(0.1)
        assert not sender._webhook.kept  # it is given up in the end
        await sender.close()
        return others

    others = asyncio.run(run())
    told = [body["alerts"][0]["fingerprint"] for _, body in receiver.posts]
    assert set(told) == {f"f{n}" for n in range(others + 1)}
    assert all(told.count(f"f{n}") == 1 for n in range(1, others + 1))


@pytest.fixture
def backlog(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Callable[[AlertSender], Any]:
    """Sixty alerts that a receiver was away for; back now, it needs seconds to take them."""
    monkeypatch.setattr(alerting, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(alerting_receivers, "SOONEST_SECONDS", 0.1)
    monkeypatch.setattr(alerting_receivers, "ATTEMPTS", 1)

    async def miss(sender: AlertSender) -> None:
        receiver.poison = "firing"  # which Alertmanager's posts do not say
        for n in range(60):
            await sender.send(fields(fingerprint=f"f{n}"))
        assert sender._webhook and sender._webhook.kept == 60
        receiver.posts.clear()
        receiver.poison, receiver.delay = "", 0.05

    return miss


def test_an_alert_waits_for_none_of_those_that_a_receiver_missed(
    receiver: Receiver, backlog: Callable[[AlertSender], Any]
) -> None:
    async def run() -> int:
        sender = AlertSender(receiver.url, "")
        await backlog(sender)
        await until_posts(receiver, 5)
        assert not await sender.send(fields("resolved", fingerprint="f59"))
        assert sender._webhook
        left = sender._webhook.kept
        await until_none_kept(sender)
        assert await sender.send(fields(fingerprint="f60"))
        await sender.close()
        return left

    assert asyncio.run(run()) > 20
    told = [(body["alerts"][0]["fingerprint"], body["status"]) for _, body in receiver.posts]
    assert told[-2:] == [("f59", "resolved"), ("f60", "firing")]
    assert len(set(told)) == 62


def test_a_look_gives_way_and_the_next_one_goes_on(
    receiver: Receiver, backlog: Callable[[AlertSender], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        sender = AlertSender(receiver.url, "")
        await backlog(sender)
        monkeypatch.setattr(alerting_receivers, "TOTAL_SECONDS", 0.2)
        assert sender._webhook
        sender._webhook._ask_at = 0.0
        assert not await sender._webhook.catch_up()
        assert sender._webhook.kept
        while not await sender._webhook.catch_up():
            pass
        await sender.close()

    asyncio.run(run())
    told = [body["alerts"][0]["fingerprint"] for _, body in receiver.posts]
    assert sorted(told) == sorted(f"f{n}" for n in range(60))


def test_a_webhook_that_catches_up_holds_up_neither_snoozes_nor_alertmanager(
    receiver: Receiver, backlog: Callable[[AlertSender], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerting, "REPOST_SECONDS", 0.1)
    asked: list[int] = []

    async def snoozed() -> set[tuple[str, str]]:
        assert sender._webhook
        asked.append(sender._webhook.kept)
        return set()

    async def run() -> None:
        await backlog(sender)
        await until_none_kept(sender)
        await sender.close()

    sender = AlertSender(receiver.url, receiver.url, snoozed)
    asyncio.run(run())
    paths = [path for path, _ in receiver.posts]
    told = [n for n, path in enumerate(paths) if path == "/"]
    assert paths[told[0] : told[-1]].count("/api/v2/alerts") > 3
    assert len({kept for kept in asked if 0 < kept < 60}) > 3


def test_what_was_missed_is_told_by_the_process_that_has_the_incidents_next(
    receiver: Receiver, backlog: Callable[[AlertSender], Any]
) -> None:
    async def run() -> bool:
        sender, following = AlertSender(receiver.url, ""), AlertSender(receiver.url, "")
        await backlog(sender)
        owed = sender.owed()["webhook"]
        assert owed[:2] == [("default", "f0", "firing"), ("default", "f1", "firing")]
        sender.let_go()
        assert sender.owed() == {}
        following.owe("webhook", [fields(s, fingerprint=f) for _, f, s in owed])
        waited = await following.send(fields("resolved", fingerprint="f0"))
        assert not receiver.posts
        await until_none_kept(following)
        await sender.close()
        await following.close()
        return waited

    assert not asyncio.run(run())  # for those that are owed nobody waits
    told = [(body["alerts"][0]["fingerprint"], body["status"]) for _, body in receiver.posts]
    assert told == [(f"f{n}", "firing") for n in range(60)] + [("f0", "resolved")]


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
