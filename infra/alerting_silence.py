"""A snooze as a silence of Alertmanager's (v2 API): it stops repeating, the alert stays."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from infra.telemetry import get_logger

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS = 3.0

log = get_logger("alerting")


async def silence(
    client: httpx.AsyncClient,
    alertmanager_url: str,
    labels: Mapping[str, str],
    starts_at: datetime,
    ends_at: datetime,
    by: str,
) -> bool:
    """Silence what has these labels.

    Returns:
        Whether Alertmanager took it; what the network does is never raised.
    """
    import httpx

    matchers = [
        {"name": name, "value": value, "isRegex": False, "isEqual": True}
        for name, value in labels.items()
    ]
    body = {
        "matchers": matchers,
        "startsAt": starts_at.isoformat(),
        "endsAt": ends_at.isoformat(),
        "createdBy": by or "springtide",
        "comment": "snoozed on the ops page of Springtide",
    }
    url = f"{alertmanager_url.rstrip('/')}/api/v2/silences"
    try:
        answer = await client.post(url, json=body, timeout=TIMEOUT_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        log.warning("alert.not_silenced", error=type(error).__name__)
        return False
    if answer.status_code >= 300:
        log.warning("alert.not_silenced", status=answer.status_code)
    return answer.status_code < 300
