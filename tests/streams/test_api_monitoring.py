"""What the API says of comments and alerts, from ClickHouse."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

RunningApi = Any  # of conftest.py
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def comment_rows(api: RunningApi, item: str, labels: list[str]) -> dict[str, list[Any]]:
    n, received = len(labels), datetime.now(UTC) - timedelta(minutes=2)
    return {
        "tenant": [api.tenant] * n,
        "id": [f"{item}-{i}" for i in range(n)],
        "item_id": [item] * n,
        "topics": [["music"]] * n,
        "label": labels,
        "occurred_at": [NOW] * n,
        "received_at": [received] * n,
        "offset": [int(time.time() * 1e6) + i for i in range(n)],
    }


def test_sentiment_of_an_item_is_counted(running_api: RunningApi) -> None:
    rows = comment_rows(running_api, "oboe", ["negative", "negative", "positive", "neutral"])
    running_api.warehouse.insert("scored_comments", rows, "")
    answer = running_api.client.get("/v1/items/oboe/sentiment", params={"minutes": 10}).json()
    assert (answer["comments"], answer["negatives"], answer["negative_share"]) == (4, 2, 0.5)
    assert sum(minute["positives"] for minute in answer["by_minute"]) == 1
    empty = running_api.client.get("/v1/items/silent/sentiment").json()
    assert (empty["comments"], empty["negative_share"], empty["by_minute"]) == (0, None, [])


def alert_row(api: RunningApi, state: str, offset: int, evidence: float) -> dict[str, list[Any]]:
    examples = [{"id": "c", "text": "骗人的课程", "negative": 0.98, "occurred_at": NOW.isoformat()}]
    one = {
        "tenant": api.tenant, "fingerprint": "f1", "key": "item:oboe", "channel": "share",
        "state": state, "started_at": NOW, "raised_at": NOW + timedelta(hours=offset),
        "received_at": datetime.now(UTC) - timedelta(seconds=60 - offset), "evidence": evidence,
        "threshold": 4.5, "negatives": 18, "comments": 24, "share": 0.75, "baseline": 0.16,
        "effect": 4.7, "severity": "major", "title": "Oboe", "offset": offset,
        "examples": json.dumps(examples) if state == "firing" else "[]", "historic": 0,
    }  # fmt: skip
    return {name: [value] for name, value in one.items()}


def test_a_spike_is_one_alert_that_keeps_its_comments(running_api: RunningApi) -> None:
    insert = running_api.warehouse.insert
    insert("alerts", alert_row(running_api, "firing", 1, 5.3), "")
    insert("alerts", alert_row(running_api, "firing", 2, 5.3), "")  # after a crash
    (alert,) = running_api.client.get("/v1/alerts?state=firing").json()["alerts"]
    assert (alert["state"], alert["resolved_at"], alert["title"]) == ("firing", None, "Oboe")
    insert("alerts", alert_row(running_api, "resolved", 3, -1.0), "")
    (alert,) = running_api.client.get("/v1/alerts").json()["alerts"]
    assert alert["state"] == "resolved"
    assert alert["evidence"] == 5.3
    assert alert["started_at"] == "2026-03-01T12:00:00Z"
    assert alert["resolved_at"] == "2026-03-01T15:00:00Z"
    assert alert["examples"][0]["text"] == "骗人的课程"
    assert running_api.client.get("/v1/alerts?state=firing").json() == {"alerts": []}


def test_an_alert_that_began_before_the_time_asked_for_was_noticed_then(
    running_api: RunningApi,
) -> None:
    row = alert_row(running_api, "resolved", 5, -1.0) | {"fingerprint": ["early"]}
    running_api.warehouse.insert("alerts", row, "")
    found = running_api.client.get("/v1/alerts").json()["alerts"]
    (noticed,) = [alert["noticed_at"] for alert in found if alert["fingerprint"] == "early"]
    assert datetime.fromisoformat(noticed) > datetime.now(UTC) - timedelta(minutes=5)


def test_the_page_is_told_of_what_fires_and_of_what_it_names_before_all_else(
    running_api: RunningApi,
) -> None:
    def put(name: str, state: str, days: float) -> None:
        at = datetime.now(UTC) - timedelta(days=days)
        row = alert_row(running_api, state, 1, 5.3)
        row |= {"fingerprint": [name], "received_at": [at], "raised_at": [at]}
        running_api.warehouse.insert("alerts", row, "")

    put("linked", "resolved", 20)
    put("fires", "firing", 6)
    for n in range(60):
        put(f"over-{n}", "resolved", 0.001 * n)
    told = running_api.client.get("/ops/alerts?first=linked").json()
    assert {"linked", "fires", "over-0"} < {alert["fingerprint"] for alert in told}
    assert len(told) == 50
    newest = running_api.client.get("/v1/alerts").json()["alerts"]
    assert newest[0]["fingerprint"] == "over-0"


def test_an_alert_is_acknowledged_and_snoozed_and_never_hidden(running_api: RunningApi) -> None:
    row = alert_row(running_api, "firing", 7, 5.3) | {"fingerprint": ["f 7/x"]}
    running_api.warehouse.insert("alerts", row, "")
    post = running_api.client.post

    def now() -> Any:
        found = running_api.client.get("/v1/alerts?state=firing").json()["alerts"]
        return next(alert for alert in found if alert["fingerprint"] == "f 7/x")

    assert (now()["acknowledged_at"], now()["snoozed_until"]) == (None, None)
    path = "/v1/alerts/f%207%2Fx"
    answer = post(f"{path}/acknowledge", json={"by": "王芳"})
    assert answer.status_code == 200 and answer.json()["silenced"] is None
    assert (now()["acknowledged_at"], now()["acknowledged_by"]) == (
        answer.json()["marked_at"], "王芳",
    )  # fmt: skip
    until = post(f"{path}/snooze", json={"minutes": 90}).json()["snoozed_until"]
    assert now()["snoozed_until"] == until
    assert datetime.fromisoformat(until) > datetime.now(UTC) + timedelta(minutes=89)
    assert post(f"{path}/snooze", json={"minutes": 0}).json()["snoozed_until"] is None
    assert datetime.fromisoformat(now()["snoozed_until"]) <= datetime.now(UTC)

    assert post("/v1/alerts/unknown/acknowledge", json={}).status_code == 404
    assert post(f"{path}/snooze", json={"minutes": -1}).status_code == 422
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert post(f"{path}/acknowledge", content="x=1", headers=form).status_code == 415
