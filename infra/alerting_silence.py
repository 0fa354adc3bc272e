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


COMMENT = "snoozed on the ops page of Springtide"


async def silence(
    client: httpx.AsyncClient,
    alertmanager_url: str,
    labels: Mapping[str, str],
    starts_at: datetime,
    ends_at: datetime,
    by: str,
) -> bool:
    """Silence what has these labels, in place of our earlier silences of it.

    Args:
        ends_at: `starts_at` or earlier: it is silent no longer.

    Returns:
        Whether Alertmanager took it; what the network does is never raised.
    """
    import httpx

    url = f"{alertmanager_url.rstrip('/')}/api/v2"
    matchers = [
        {"name": name, "value": value, "isRegex": False, "isEqual": True}
        for name, value in labels.items()
    ]
    body = {
        "matchers": matchers,
        "startsAt": starts_at.isoformat(),
        "endsAt": ends_at.isoformat(),
        "createdBy": by or "springtide",
        "comment": COMMENT,
    }
    try:
        earlier = await _ours(client, url, labels)
        if ends_at > starts_at:
            answer = await client.post(f"{url}/silences", json=body, timeout=TIMEOUT_SECONDS)
            answer.raise_for_status()
        for known in earlier:
            answer = await client.delete(f"{url}/silence/{known}", timeout=TIMEOUT_SECONDS)
            answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        log.warning("alert.not_silenced", error=type(error).__name__)
        return False
    return True


async def _ours(client: httpx.AsyncClient, url: str, labels: Mapping[str, str]) -> list[str]:
    """Ids of the silences that snoozes of the same alert have made, and that still hold."""
    answer = await client.get(f"{url}/silences", timeout=TIMEOUT_SECONDS)
    answer.raise_for_status()
    return [
        str(each["id"])
        for each in answer.json()
        if each["status"]["state"] != "expired"
        and each["comment"] == COMMENT
        and {m["name"]: m["value"] for m in each["matchers"]} == labels
    ]
