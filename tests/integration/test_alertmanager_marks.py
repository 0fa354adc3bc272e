"""What a real Alertmanager makes of snoozes, their end, and an alert that grows."""

# ruff: noqa: F811 (fixtures come by import)
from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx

from infra.alert_marks import utc_now
from infra.alerting import AlertSender
from infra.alerting_silence import silence
from tests.integration.test_alertmanager import (  # noqa: F401 (fixtures)
    Alertmanager,
    alertmanager,
    pager,
)


def test_a_snooze_silences_alertmanager_and_its_end_lets_it_speak(
    alertmanager: Alertmanager,
) -> None:
    labels = {"tenant": "default", "incident": "f00d"}
    now = utc_now()

    async def snooze(days: float) -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            until = now + timedelta(days=days)
            return await silence(client, alertmanager.url, labels, now, until, "王芳")

    def active() -> list[Any]:
        found = httpx.get(f"{alertmanager.url}/api/v2/silences", trust_env=False).json()
        return [each for each in found if each["status"]["state"] == "active"]

    assert asyncio.run(snooze(300))
    (found,) = active()
    assert found["createdBy"] == "王芳"
    assert {each["name"]: each["value"] for each in found["matchers"]} == labels
    assert asyncio.run(snooze(1))  # the last one holds, also where it is shorter
    (found,) = active()
    assert datetime.fromisoformat(found["endsAt"]) < now + timedelta(days=2)
    assert asyncio.run(snooze(0))
    assert active() == []


def test_an_alert_that_grows_is_one_alert_of_alertmanager(alertmanager: Alertmanager) -> None:
    def told(severity: str, status: str = "firing") -> dict[str, Any]:
        labels = {"alertname": "NegativeSpike", "tenant": "default", "key": "item:grows"}
        labels |= {"channel": "share", "parent": "tenant", "severity": severity}
        now = utc_now()
        return {
            "status": status, "fingerprint": "f", "starts_at": now - timedelta(hours=1),
            "ends_at": now if status == "resolved" else None, "labels": labels, "annotations": {},
        }  # fmt: skip

    def severities() -> list[str]:
        found = httpx.get(f"{alertmanager.url}/api/v2/alerts", trust_env=False).json()
        labels = [alert["labels"] for alert in found]
        return [each["severity"] for each in labels if each["key"] == "item:grows"]

    async def run() -> None:
        sender = AlertSender("", alertmanager.url)
        assert await sender.send(told("minor"))
        assert severities() == ["minor"]
        assert await sender.send(told("severe"))
        assert severities() == ["severe"]
        assert await sender.send(told("severe", "resolved"))
        assert severities() == []
        await sender.close()

    asyncio.run(run())
