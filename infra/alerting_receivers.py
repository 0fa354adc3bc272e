"""Who is told of alerts: a webhook, Alertmanager. What they do not take is kept, and told later.

Posts to one receiver follow each other, so that none is overtaken by what it took the place of.
Only the first alert that a receiver does not answer waits for it: until it has taken all that it
missed, the others are kept at once, behind it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from infra.alerting_bodies import (
    Fields,
    Incident,
    Owed,
    alertmanager_alert,
    incident_of,
    webhook_body,
)
from infra.telemetry import get_logger

ATTEMPTS = 3
TIMEOUT_SECONDS = 3.0
TOTAL_SECONDS = 10.0
# How soon a receiver that did not answer is asked again: at first, and in the end.
SOONEST_SECONDS, LATEST_SECONDS = 2.0, 30.0
MOST_KEPT = 1_000
MOST_BLAMED = 5  # times that a receiver fails on the alert right after it has taken another

log = get_logger("alerting")

Kept = tuple[Incident, str]  # that it fires, and that it has ended: both are told


class NotTakenError(Exception):
    """A receiver's answer that may be another one next time (429, 5xx, or none in time)."""


class Receiver:
    """The webhook: a post an alert.

    Args:
        client: gives the process's httpx client.
    """

    name = "webhook"
    batch = 1

    def __init__(self, url: str, client: Callable[[], Awaitable[Any]]) -> None:
        self._url, self._client = url, client
        self._kept: dict[Kept, Fields] = {}
        self._blamed: dict[Kept, int] = {}
        self._turn = asyncio.Lock()
        self._away = False
        self._behind = False
        self._pause = SOONEST_SECONDS
        self._ask_at = 0.0

    @property
    def kept(self) -> int:
        """Alerts that it has not taken yet."""
        return len(self._kept)

    @property
    def owed(self) -> list[Owed]:
        """What it has not taken yet, in the order in which it is told."""
        return [(*incident, status) for incident, status in self._kept]

    def owe(self, alerts: Iterable[Fields]) -> None:
        """Keep what a process before this one had not told it; nobody waits for it."""
        for fields in alerts:
            self._keep(fields)
        self._behind |= bool(self._kept)

    async def tell(self, fields: Fields) -> bool:
        """Whether it has taken the alert; at once False where others wait since it was away."""
        self._keep(fields)
        return False if self._behind else await self.catch_up()

    def _keep(self, fields: Fields) -> None:
        kept = incident_of(fields), str(fields["status"])
        self._kept.pop(kept, None)
        self._kept[kept] = fields
        if len(self._kept) > MOST_KEPT:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            self._blamed.pop(oldest, None)
            log.error("alert.given_up", receiver=self.name, kept=MOST_KEPT)

    async def catch_up(self) -> bool:
        """Post what is kept, in order, for 10 s or so; whether all of it was taken."""
        taken = True
        async with self._turn:
            until = time.monotonic() + TOTAL_SECONDS
            while self._kept:
                now = time.monotonic()
                if now >= until or (self._away and now < self._ask_at):
                    self._behind = True
                    return False
                part = dict(list(self._kept.items())[: self.batch])
                there = not self._away
                answer = await self._post(list(part.values()), ATTEMPTS if there else 1)
                if answer is None:
                    self._put_off(part, there)
                    self._behind = True
                    return False
                taken &= answer
                for kept, fields in part.items():
                    self._blamed.pop(kept, None)
                    if self._kept.get(kept) is fields:  # else it has grown meanwhile
                        del self._kept[kept]
            self._behind = False
        return taken

    def _put_off(self, part: Iterable[Kept], there: bool) -> None:
        """Try others first: a receiver may fail on one alert, and take all that follow.

        Args:
            there: it had taken the alert before these.
        """
        for kept in part:
            self._blamed[kept] = self._blamed.get(kept, 0) + there
            if self._blamed[kept] >= MOST_BLAMED:
                del self._blamed[kept]
                self._kept.pop(kept, None)
                log.error("alert.given_up", receiver=self.name, state=kept[1])
        incidents = {incident for incident, _ in part}
        for kept in [each for each in self._kept if each[0] in incidents]:
            self._kept[kept] = self._kept.pop(kept)  # an end stays behind its beginning

    def let_go(self) -> None:
        """Another process has the incidents, and tells what is owed."""
        self._kept.clear()
        self._blamed.clear()
        self._behind = False

    def _body(self, alerts: Sequence[Fields]) -> Any:
        return webhook_body(alerts[0])

    def _heard(self, alerts: Sequence[Fields]) -> None:
        """It has answered to these."""

    async def _post(self, alerts: Sequence[Fields], attempts: int) -> bool | None:
        """True: taken; False: refused, now and for ever; None: away."""
        import httpx
        import stamina

        try:
            content = msgspec.json.encode(self._body(alerts))
            client = await self._client()
            async for attempt in stamina.retry_context(
                on=(httpx.TransportError, NotTakenError),
                attempts=attempts,
                timeout=TOTAL_SECONDS,
                wait_initial=0.2,
                wait_max=2.0,
            ):
                with attempt:
                    status = await _post_once(client, self._url, content)
        except (httpx.TransportError, NotTakenError) as error:
            # Neither URL nor alert: the one may hold a token, the other a comment.
            log.warning("alert.not_delivered", receiver=self.name, error=type(error).__name__)
            self._ask_at = time.monotonic() + self._pause
            self._away, self._pause = True, min(2.0 * self._pause, LATEST_SECONDS)
            return None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            log.warning("alert.not_delivered", receiver=self.name, error=type(error).__name__)
            return False
        if self._away:
            log.info("alert.receiver_back", receiver=self.name, kept=len(self._kept))
        self._away, self._pause = False, SOONEST_SECONDS
        self._heard(alerts)
        if status >= 300:
            log.warning("alert.refused", receiver=self.name, status=status)
        return status < 300


class Alertmanager(Receiver):
    """Alertmanager: many alerts a post; it knows an alert by its labels, severity among them."""

    name = "alertmanager"
    batch = 500

    def __init__(self, url: str, client: Callable[[], Awaitable[Any]]) -> None:
        super().__init__(f"{url.rstrip('/')}/api/v2/alerts", client)
        self._labelled: dict[Incident, Fields] = {}  # as it was told of them last

    async def repeat(self, alerts: Callable[[], Sequence[Fields]]) -> None:
        """Post what fires once more, as it is when its turn comes; never kept."""
        async with self._turn:
            again = alerts()
            for first in range(0, len(again), self.batch):
                if await self._post(again[first : first + self.batch], 1) is None:
                    return

    def let_go(self) -> None:
        """It also posts them again, and their ends."""
        super().let_go()
        self._labelled.clear()

    def _body(self, alerts: Sequence[Fields]) -> list[dict[str, Any]]:
        """Also the end of what an alert was before it grew: else that would fire for hours."""
        now = datetime.now(UTC)
        body = []
        for fields in alerts:
            before = self._labelled.get(incident_of(fields), fields)
            if before["labels"] != fields["labels"]:
                body.append(alertmanager_alert({**before, "status": "resolved"}, now))
            body.append(alertmanager_alert(fields, now))
        return body

    def _heard(self, alerts: Sequence[Fields]) -> None:
        for fields in alerts:
            self._labelled.pop(incident_of(fields), None)
            if fields["status"] == "firing":
                self._labelled[incident_of(fields)] = fields


async def _post_once(client: Any, url: str, content: bytes) -> int:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):  # httpx counts from byte to byte
            answer = await client.post(url, content=content)
    except TimeoutError:
        raise NotTakenError("no answer") from None
    status: int = answer.status_code
    if status == 429 or status >= 500:
        raise NotTakenError(str(status))
    return status
