"""Alerts to a webhook (Alertmanager's webhook JSON) and to Alertmanager itself (its v2 API)."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from infra.telemetry import get_logger

ATTEMPTS = 3
TOTAL_SECONDS = 10.0
TIMEOUT_SECONDS = 3.0
# Alertmanager forgets what is not posted again, and everything when it restarts.
REPOST_SECONDS = 60.0
# How soon a snooze of the ops page holds here, and how soon its end is told.
LOOK_SECONDS = 2.0
# Longer than a restart of ours may take, short enough that a dead monitor's alerts end.
HOLD = timedelta(hours=4)
MAX_ACTIVE = 5_000
NEVER = "0001-01-01T00:00:00Z"  # Alertmanager's own word for "has not ended"
RECEIVER = "springtide"

Incident = tuple[str, str]  # tenant, fingerprint

log = get_logger("alerting")


async def _none_snoozed() -> frozenset[Incident]:
    return frozenset()


class NotTakenError(Exception):
    """A receiver's answer that may be another one next time (429 or 5xx)."""


class AlertSender:
    """Delivers alerts, tries again within bounds, and never raises for what the network does.

    Proxies of the environment are not used. Alerts that fire are posted to Alertmanager again
    every minute until they are resolved, let go, or this process ends. A snoozed alert is told to
    nobody again, graver or not, until its time is over; then both hear of it. Its end is always
    told.

    Args:
        webhook_url, alertmanager_url: empty: none.
        snoozed: (tenant, fingerprint) of what is snoozed now.
    """

    def __init__(
        self,
        webhook_url: str,
        alertmanager_url: str,
        snoozed: Callable[[], Awaitable[Set[Incident]]] = _none_snoozed,
    ) -> None:
        self._webhook_url = webhook_url
        base = alertmanager_url.rstrip("/")
        self._alertmanager_url = f"{base}/api/v2/alerts" if base else ""
        self._ask_snoozed = snoozed
        self._snoozed: Set[Incident] = frozenset()
        self._active: dict[Incident, Mapping[str, Any]] = {}
        self._client: Any = None
        self._making_client = asyncio.Lock()
        self._reposting: asyncio.Task[None] | None = None
        self._reposted = time.monotonic()

    async def send(self, fields: Mapping[str, Any], ours: bool = True) -> bool:
        """Deliver one alert to every receiver there is.

        Args:
            fields: `status` ("firing" or "resolved"), `fingerprint`, `starts_at`, `ends_at`
                (None while it fires), `labels` and `annotations` (texts).
            ours: False: another process posts it again, and tells its end.

        Returns:
            Whether every receiver took it; at most about 10 s later.
        """
        told_before = _incident(fields) in self._active
        if ours:
            self._keep(fields)
        if fields["status"] == "firing" and told_before and _incident(fields) in self._snoozed:
            return True
        return await self._post_to_all(fields)

    def remember(self, fields: Mapping[str, Any]) -> None:
        """Take an alert that has been told before this process began into the reposting.

        Alertmanager may have begun anew as well: it is posted at the next look.
        """
        self._keep(fields)
        self._reposted = -math.inf

    def let_go(self) -> None:
        """Another process has the incidents now: it may end them without our hearing of it."""
        self._active.clear()
        self._snoozed = frozenset()

    def _keep(self, fields: Mapping[str, Any]) -> None:
        """Post it again for as long as it fires."""
        self._active.pop(_incident(fields), None)
        if fields["status"] == "firing":
            self._active[_incident(fields)] = fields
            if len(self._active) > MAX_ACTIVE:
                self._active.pop(next(iter(self._active)))
        if self._reposting is None and self._active:
            self._reposting = asyncio.create_task(self._repost())

    async def _post_to_all(self, fields: Mapping[str, Any]) -> bool:
        posts = []
        if self._webhook_url:
            posts.append(self._post("webhook", self._webhook_url, webhook_body(fields)))
        if self._alertmanager_url:
            posts.append(self._post_to_alertmanager([fields]))
        return all(await asyncio.gather(*posts))

    async def warm_up(self) -> None:
        """Make the client now: the first alert must not wait for it."""
        if self._webhook_url or self._alertmanager_url:
            await self._open()

    async def close(self) -> None:
        """End the reposting and close the connections."""
        if self._reposting is not None:
            self._reposting.cancel()
            await asyncio.gather(self._reposting, return_exceptions=True)
            self._reposting = None
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _repost(self) -> None:
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, REPOST_SECONDS))
            if not self._active:
                continue
            before, self._snoozed = self._snoozed, await self._ask_snoozed()
            for incident in before - self._snoozed:
                if incident in self._active:
                    await self._post_to_all(self._active[incident])
            if time.monotonic() - self._reposted >= REPOST_SECONDS and self._alertmanager_url:
                self._reposted = time.monotonic()
                awake = [f for i, f in self._active.items() if i not in self._snoozed]
                if awake:
                    await self._post_to_alertmanager(awake)

    async def _post_to_alertmanager(self, alerts: Sequence[Mapping[str, Any]]) -> bool:
        now = datetime.now(UTC)
        body = [alertmanager_alert(fields, now) for fields in alerts]
        return await self._post("alertmanager", self._alertmanager_url, body)

    async def _post(self, receiver: str, url: str, body: Any) -> bool:
        import httpx
        import stamina

        try:
            content = msgspec.json.encode(body)
            client = await self._open()
            async for attempt in stamina.retry_context(
                on=(httpx.TransportError, NotTakenError),
                attempts=ATTEMPTS,
                timeout=TOTAL_SECONDS,
                wait_initial=0.2,
                wait_max=2.0,
            ):
                with attempt:
                    status = await _post_once(client, url, content)
        except (httpx.HTTPError, httpx.InvalidURL, NotTakenError, UnicodeError) as error:
            # Neither URL nor alert: the one may hold a token, the other a comment.
            log.warning("alert.not_delivered", receiver=receiver, error=type(error).__name__)
            return False
        if status >= 300:
            log.warning("alert.refused", receiver=receiver, status=status)
        return status < 300

    async def _open(self) -> Any:
        async with self._making_client:
            if self._client is None:
                # Reading the certificates takes tens of milliseconds: not in the loop.
                self._client = await asyncio.to_thread(_client)
        return self._client


def _incident(fields: Mapping[str, Any]) -> Incident:
    return str(fields["labels"].get("tenant", "")), fields["fingerprint"]


def _client() -> Any:
    import httpx
    import stamina  # noqa: F401 -- imported here, in a thread, not at the first alert

    return httpx.AsyncClient(
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
        limits=httpx.Limits(max_connections=8),
        headers={"Content-Type": "application/json", "User-Agent": "springtide"},
    )


async def _post_once(client: Any, url: str, content: bytes) -> int:
    answer = await client.post(url, content=content)
    status: int = answer.status_code
    if status == 429 or status >= 500:
        raise NotTakenError(str(status))
    return status


def webhook_body(fields: Mapping[str, Any]) -> dict[str, Any]:
    """One alert as Alertmanager's webhook JSON, version 4; a group of its own."""
    labels = _texts(fields["labels"])
    group = {"alertname": labels.get("alertname", RECEIVER)}
    ended = fields["ends_at"]
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{group["alertname"]}"}}:{fields["fingerprint"]}',
        "truncatedAlerts": 0,
        "status": fields["status"],
        "receiver": RECEIVER,
        "groupLabels": group,
        "commonLabels": labels,
        "commonAnnotations": _texts(fields["annotations"]),
        "externalURL": "",
        "alerts": [
            {
                "status": fields["status"],
                "labels": labels,
                "annotations": _texts(fields["annotations"]),
                "startsAt": fields["starts_at"].isoformat(),
                "endsAt": ended.isoformat() if ended else NEVER,
                "generatorURL": "",
                "fingerprint": fields["fingerprint"],
            }
        ],
    }


def alertmanager_alert(fields: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """One alert for POST /api/v2/alerts, which refuses an end before the start."""
    starts = min(fields["starts_at"], now)
    ends = now + HOLD if fields["status"] == "firing" else fields["ends_at"] or now
    return {
        "labels": _texts(fields["labels"]),
        "annotations": _texts(fields["annotations"]),
        "startsAt": starts.isoformat(),
        "endsAt": max(ends, starts).isoformat(),
    }


def _texts(pairs: Mapping[str, Any]) -> dict[str, str]:
    """Texts that UTF-8 has bytes for."""
    return {name: str(value).encode("utf-8", "replace").decode() for name, value in pairs.items()}
