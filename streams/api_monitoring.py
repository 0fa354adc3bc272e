"""Comments and alerts, from ClickHouse; and what people say of an alert, into it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from dashboards import alerts
from infra.alert_marks import Action, utc_now
from infra.alerting_silence import silence
from infra.telemetry import get_logger
from streams.api_answers import (
    Acknowledge,
    Alerts,
    ApiError,
    ItemSentiment,
    Marked,
    SentimentMinute,
    Snooze,
    answer,
)
from streams.api_request import body, path_id, whole

if TYPE_CHECKING:
    from streams.api_parts import Api

log = get_logger("api")

DAY_MINUTES = 1_440
MOST_MINUTES = 60 * DAY_MINUTES
MOST_POINTS = 500
STATES: tuple[alerts.State, ...] = ("firing", "resolved")

SENTIMENT = """SELECT minute, comments, negatives, neutrals, positives,
  sum(comments) OVER () AS all_comments, sum(negatives) OVER () AS all_negatives,
  sum(neutrals) OVER () AS all_neutrals, sum(positives) OVER () AS all_positives
FROM sentiment_by_minute
WHERE tenant = %(tenant)s AND key = %(key)s AND minute >= toDateTime64(%(since)s, 3, 'UTC')
ORDER BY minute DESC LIMIT %(points)s"""


async def item_sentiment(api: Api, request: Request, tenant: str) -> Response:
    """GET /v1/items/{id}/sentiment"""
    item_id = path_id(request)
    minutes = whole(request, "minutes", DAY_MINUTES, 1, MOST_MINUTES)
    since = (datetime.now(UTC) - timedelta(minutes=minutes)).replace(microsecond=0)
    rows = await api.live.query(
        SENTIMENT,
        {"tenant": tenant, "key": f"item:{item_id}", "since": since, "points": MOST_POINTS},
    )
    names = ("comments", "negatives", "neutrals", "positives")
    totals = {name: int(rows[0][f"all_{name}"]) if rows else 0 for name in names}
    share = totals["negatives"] / totals["comments"] if totals["comments"] else None
    points = [
        SentimentMinute(
            row["minute"].replace(tzinfo=UTC), **{name: int(row[name]) for name in names}
        )
        for row in rows
    ]
    return answer(
        ItemSentiment(
            item_id=item_id, minutes=minutes, negative_share=share, by_minute=points, **totals
        )
    )


async def list_alerts(api: Api, request: Request, tenant: str) -> Response:
    """GET /v1/alerts"""
    asked = request.query_params.get("state")
    state = next((state for state in STATES if state == asked), None)
    if asked is not None and state is None:
        raise ApiError(400, f"state: one of {', '.join(STATES)}")
    limit = whole(request, "limit", 50, 1, alerts.MOST_ALERTS)
    since = datetime.now(UTC) - timedelta(
        minutes=whole(request, "minutes", MOST_MINUTES, 1, 600_000)
    )
    rows = await api.live.query(alerts.ALERTS, alerts.parameters(tenant, since, state, limit))
    return answer(Alerts(alerts.views(rows)))


async def acknowledge_alert(api: Api, request: Request, tenant: str) -> Response:
    """POST /v1/alerts/{id}/acknowledge"""
    said = await body(request, Acknowledge)
    fingerprint, at = path_id(request), utc_now()
    await _labels(api, tenant, fingerprint)
    await _mark(api, tenant, fingerprint, "acknowledge", said.by, at, at)
    return answer(Marked(fingerprint, at))


async def snooze_alert(api: Api, request: Request, tenant: str) -> Response:
    """POST /v1/alerts/{id}/snooze"""
    said = await body(request, Snooze)
    fingerprint, at = path_id(request), utc_now()
    labels = await _labels(api, tenant, fingerprint)
    until = at + timedelta(minutes=said.minutes)
    await _mark(api, tenant, fingerprint, "snooze", said.by, at, until)
    silenced = None
    url = api.settings.alertmanager_url
    if url:
        taken = await silence(api.http, url, labels, at, until, said.by)
        silenced = taken if said.minutes else not taken
    return answer(Marked(fingerprint, at, until if said.minutes else None, silenced))


async def _labels(api: Api, tenant: str, fingerprint: str) -> dict[str, str]:
    labels = await api.marks.labels(tenant, fingerprint)
    if labels is None:
        raise ApiError(404, "there is no alert with this fingerprint: see GET /v1/alerts")
    return labels


async def _mark(
    api: Api, tenant: str, fingerprint: str, action: Action, by: str, at: datetime, until: datetime
) -> None:
    await api.marks.mark(tenant, fingerprint, action, by, at, until)
    log.info("alert.marked", action=action, tenant=tenant, fingerprint=fingerprint)
