"""Alerts to a webhook (Alertmanager's webhook JSON) and to Alertmanager itself (its v2 API)."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence, Set
from typing import Any

from infra.alerting_bodies import Fields, Incident, Owed, incident_of
from infra.alerting_receivers import TIMEOUT_SECONDS, Alertmanager, Receiver
from infra.telemetry import get_logger

# Alertmanager forgets what is not posted again, and everything when it restarts.
REPOST_SECONDS = 60.0
# How soon a snooze of the ops page holds here, how soon its end is told, and how soon a receiver
# that is back hears what it missed.
LOOK_SECONDS = 2.0
MAX_ACTIVE = 5_000

log = get_logger("alerting")

Look = Callable[[], Awaitable[object]]


async def _none_snoozed() -> frozenset[Incident]:
    return frozenset()


class AlertSender:
    """Delivers alerts, and never raises for what the network does.

    What a receiver does not take is kept and told as soon as it answers again; `owed` is for the
    checkpoint, from which the next process goes on with `owe`. Proxies of the
    environment are not used. Alerts that fire are posted to Alertmanager again every minute until
    they are resolved, let go, or this process ends. A snoozed alert is told to nobody again, graver
    or not, until its time is over; then both hear of it. Its end is always told.

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
        self._webhook = Receiver(webhook_url, self._open) if webhook_url else None
        self._alertmanager = (
            Alertmanager(alertmanager_url, self._open) if alertmanager_url else None
        )
        self._receivers = [each for each in (self._webhook, self._alertmanager) if each]
        self._ask_snoozed = snoozed
        self._snoozed: Set[Incident] = frozenset()
        self._active: dict[Incident, Fields] = {}
        self._client: Any = None
        self._making_client = asyncio.Lock()
        self._looking: list[asyncio.Task[None]] = []
        self._reposted = time.monotonic()

    async def send(self, fields: Fields, ours: bool = True) -> bool:
        """Deliver one alert to every receiver there is.

        Args:
            fields: `status` ("firing" or "resolved"), `fingerprint`, `starts_at`, `ends_at`
                (None while it fires), `labels` and `annotations` (texts).
            ours: False: another process posts it again, and tells its end.

        Returns:
            Whether every receiver took it; at most about 10 s later. One that was away, and has not
            taken yet what it missed, is told later: for it nobody waits.
        """
        told_before = self.knows(fields)
        if ours:
            self._keep(fields)
        if fields["status"] == "firing" and told_before and incident_of(fields) in self._snoozed:
            return True
        return await self._tell(fields)

    def knows(self, fields: Fields) -> bool:
        """Whether the alert is one of those that fire, told or remembered here."""
        return incident_of(fields) in self._active

    def remember(self, fields: Fields) -> None:
        """Take an alert that has been told before this process began into the reposting.

        Alertmanager may have begun anew as well: it is posted at the next look.
        """
        self._keep(fields)
        self._reposted = -math.inf

    def owed(self) -> dict[str, list[Owed]]:
        """Receiver → what it has not taken yet, in order."""
        return {each.name: each.owed for each in self._receivers if each.kept}

    def owe(self, receiver: str, alerts: Sequence[Fields]) -> None:
        """Tell a receiver what a process before this one had not told it, at the next look."""
        for each in self._receivers:
            if each.name == receiver:
                each.owe(alerts)
        self._look_after()

    def let_go(self) -> None:
        """Another process has the incidents now, and what is owed of them."""
        self._active.clear()
        self._snoozed = frozenset()
        for receiver in self._receivers:
            receiver.let_go()

    def _keep(self, fields: Fields) -> None:
        """Post it again for as long as it fires."""
        self._active.pop(incident_of(fields), None)
        if fields["status"] == "firing":
            self._active[incident_of(fields)] = fields
            if len(self._active) > MAX_ACTIVE:
                self._active.pop(next(iter(self._active)))
        self._look_after()

    def _look_after(self) -> None:
        """Each receiver by itself: the one that is slow must not hold up the others' looks."""
        if not self._looking and self._receivers:
            looks: list[Look] = [self._look, *(each.catch_up for each in self._receivers)]
            self._looking = [asyncio.create_task(_again(look)) for look in looks]

    async def _tell(self, fields: Fields) -> bool:
        self._look_after()
        return all(await asyncio.gather(*(each.tell(fields) for each in self._receivers)))

    async def warm_up(self) -> None:
        """Make the client now: the first alert must not wait for it."""
        if self._receivers:
            await self._open()

    async def close(self) -> None:
        """End the reposting and close the connections."""
        for look in self._looking:
            look.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)
        self._looking = []
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _look(self) -> None:
        """Tell what is snoozed no longer; post to Alertmanager again what fires and is not."""
        if not self._active:
            return
        before, self._snoozed = self._snoozed, await self._ask_snoozed()
        for incident in before - self._snoozed:
            if incident in self._active:
                await self._tell(self._active[incident])
        if self._alertmanager and time.monotonic() - self._reposted >= REPOST_SECONDS:
            self._reposted = time.monotonic()
            await self._alertmanager.repeat(self._awake)

    def _awake(self) -> Sequence[Fields]:
        return [f for i, f in self._active.items() if i not in self._snoozed]

    async def _open(self) -> Any:
        async with self._making_client:
            if self._client is None:
                # Reading the certificates takes tens of milliseconds: not in the loop.
                self._client = await asyncio.to_thread(_client)
        return self._client


async def _again(look: Look) -> None:
    while True:
        await asyncio.sleep(min(LOOK_SECONDS, REPOST_SECONDS))
        try:
            await look()
        except Exception as error:  # whatever it was, alerts must go on being posted
            log.warning("alert.look_failed", error=type(error).__name__)


def _client() -> Any:
    import httpx
    import stamina  # noqa: F401 -- imported here, in a thread, not at the first alert

    return httpx.AsyncClient(
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
        limits=httpx.Limits(max_connections=8),
        headers={"Content-Type": "application/json", "User-Agent": "springtide"},
    )
