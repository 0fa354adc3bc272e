"""The pager: an alarm becomes an alert on alerts.v1, in Redis and at the webhooks, once.

alerts.v1 is the ledger of what has been told. After a crash an alarm may be raised again; it is
known there by its fingerprint, or, where event time came in another order, by its key.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from infra.alerting import AlertSender
from infra.alerting_bodies import Owed
from infra.telemetry import get_logger
from infra.warehouse import Warehouse
from online.spikes import Alarm
from streams import topics
from streams.catalog import Catalog
from streams.events import Alert, encode, item_key
from streams.monitor_causes import CauseFinder, Causes
from streams.monitor_comments import CommentsAround
from streams.monitor_told import read_alerts
from streams.monitor_words import alert_fields, link
from streams.outlet import Outgoing
from streams.quotes import without_words
from streams.river import River

log = get_logger("monitor")

PAGER_AGE_SECONDS = 6 * 3600.0  # against the watermark: in a replay the wall clock says nothing
SAME_INCIDENT_SECONDS = 86_400.0
AGAIN_SECONDS = 3_600.0  # in which what a crash undid is raised again


Identity = tuple[str, str, str, str]


class Untold(Struct, frozen=True):
    """An alarm on its way to the pager, with the log₁₀ of the threshold that it passed."""

    tenant: str
    threshold: float
    alarm: Alarm


class Pager:
    """Tells alarms, one after the other.

    Attributes:
        aliases: fingerprint → the one under which the same incident was told before a crash.
    """

    def __init__(
        self, river: River, catalog: Catalog, warehouse: Warehouse, sender: AlertSender
    ) -> None:
        self._river = river
        self._catalog = catalog
        self._causes = CauseFinder(CommentsAround(warehouse, river.archive))
        self._sender = sender
        self.start({}, {}, {})

    def start(
        self,
        firing: dict[str, dict[str, str]],
        aliases: dict[str, str],
        owed: dict[str, list[Owed]],
    ) -> None:
        """Begin a new ownership, or none; `recall` must follow.

        Args:
            firing: tenant → key → fingerprint of the incidents that the checkpoint knows.
            owed: receiver → what it had not taken when the checkpoint was made.
        """
        self.aliases = dict(aliases)
        self._sender.let_go()
        self._recalled, self._recalled_at = False, 0.0
        self._firing, self._owed = firing, owed
        self._told: set[Identity] = set()
        self._open: dict[tuple[str, str], Alert] = {}

    async def recall(self) -> None:
        """Read alerts.v1, once an ownership: what has been told, and what of it is still open."""
        while not self._recalled:
            told = self._told
            alerts = await read_alerts(self._river.settings.kafka_url.get_secret_value())
            if told is self._told:  # else the stream has another owner since, or had one
                self._recalled, self._recalled_at = True, time.monotonic()
                self._take(alerts)
                await self._warm_up()

    def owed(self) -> dict[str, list[Owed]]:
        """Receiver → what it has not taken yet."""
        return self._sender.owed() if self._recalled else self._owed

    def _take(self, alerts: Sequence[Alert]) -> None:
        firing: dict[tuple[str, str], Alert] = {}
        for alert in alerts:
            self._told.add(_identity(alert))
            where = (alert.tenant, alert.key)
            if alert.state == "resolved":
                self._open.pop(where, None)
            elif alert.fingerprint not in self._known_firing(*where):
                self._open[where] = alert
            firing[alert.tenant, alert.fingerprint] = alert
        for alert in firing.values():  # Alertmanager forgets what nobody posts again
            if alert.state == "firing" and not alert.historic:
                self._sender.remember(alert_fields(alert))
        self._owe({(a.tenant, a.fingerprint, a.state): a for a in alerts})

    def _owe(self, told: dict[Owed, Alert]) -> None:
        """Tell receivers what they had not taken, as it was put on alerts.v1 last."""
        for receiver, owed in self._owed.items():
            known = [alert_fields(told[each]) for each in owed if each in told]
            if len(known) < len(owed):  # alerts.v1 has them no more
                log.error("alert.given_up", receiver=receiver, count=len(owed) - len(known))
            self._sender.owe(receiver, known)

    async def _warm_up(self) -> None:
        """The first alert must wait neither for imports nor for a cold ClickHouse."""
        now = datetime.now(UTC).timestamp()
        nothing = Alarm("item:", "share", "firing", "", now, now, 0, 0, 0, 0, 0, 0, "minor")
        await self._sender.warm_up()
        await self._causes.find("", nothing, "")

    def _known_firing(self, tenant: str, key: str) -> tuple[str, str]:
        fingerprint = self._firing.get(tenant, {}).get(key, "")
        return fingerprint, self.aliases.get(fingerprint, fingerprint)

    async def tell(self, untold: Untold, watermark: float) -> bool:
        """Put an alarm on alerts.v1, then to Redis and, unless it is history, the webhooks.

        Returns:
            False where the stream was let go, or may have been, while its causes were looked for:
            it has not been told.
        """
        told = self._told
        alert = await self._describe(untold, watermark)
        if told is not self._told or not self._river.certain():
            return False
        await self._put(alert, told)
        if alert.state == "resolved":
            self.aliases.pop(untold.alarm.fingerprint, None)
        return True

    async def end_forgotten(self, watermark: float) -> None:
        """End what was told and no detector knows, once it can be raised again no more.

        A crash may undo an alarm that event time, in another order, does not raise a second time:
        it would fire for ever, there is nobody to resolve it.
        """
        if not self._open or time.monotonic() < self._recalled_at + AGAIN_SECONDS:
            return
        told, before = self._told, watermark - SAME_INCIDENT_SECONDS
        for where, alert in list(self._open.items()):
            if alert.raised_at.timestamp() < before and self._river.certain():
                ended = datetime.fromtimestamp(watermark, UTC)
                await self._put(
                    msgspec.structs.replace(alert, state="resolved", raised_at=ended, examples=()),
                    told,
                )
                if told is not self._told:
                    return
                self._open.pop(where, None)

    async def _put(self, alert: Alert, told: set[Identity]) -> None:
        """On alerts.v1, unless it is there, then to everyone.

        Args:
            told: by this ownership.
        """
        if _identity(alert) not in told:
            key = item_key(alert.tenant, alert.key)
            kept = encode(without_words(alert))
            await self._river.outlet.write([Outgoing(topics.ALERTS, key, kept, 0)])
            told.add(_identity(alert))
            self._river.metrics.alerts.labels(alert.state).inc()
            log.warning(
                "alert." + alert.state,
                key=alert.key,
                evidence=round(alert.evidence, 2),
                negatives=alert.negatives,
                comments=alert.comments,
            )
        await self._deliver(alert, encode(alert), told)

    def _fingerprint(self, tenant: str, alarm: Alarm) -> str:
        """The incident's name; the one of before the crash where it has been told under another."""
        ours = self.aliases.get(alarm.fingerprint, alarm.fingerprint)
        before = self._open.get((tenant, alarm.key))
        if before is None:
            return ours
        if before.fingerprint != ours:
            if abs(before.started_at.timestamp() - alarm.started_at) > SAME_INCIDENT_SECONDS:
                return ours  # of the other one the end is told in time
            self.aliases[alarm.fingerprint] = before.fingerprint
        del self._open[tenant, alarm.key]
        return before.fingerprint

    async def _deliver(self, alert: Alert, payload: bytes, told: object) -> None:
        """Redis and webhooks: retried within bounds, counted when they fail, never in the way.

        After a crash a receiver may hear an alert again, under the same fingerprint.
        """
        try:
            await self._river.store.publish_alert(alert.tenant, payload)
        except self._river.store.transient_errors:
            self._river.metrics.alert_failures.inc()
        fields = alert_fields(alert)
        if alert.historic and not self._sender.knows(fields):
            return
        if not await self._sender.send(fields, ours=told is self._told):
            self._river.metrics.alert_failures.inc()

    async def _describe(self, untold: Untold, watermark: float) -> Alert:
        tenant, alarm = untold.tenant, untold.alarm
        firing = alarm.state == "firing"
        item = alarm.key.partition(":")[2]
        title = self._catalog.title(tenant, item) if alarm.key.startswith("item:") else ""
        fingerprint = self._fingerprint(tenant, alarm)
        found: Causes = await self._causes.find(tenant, alarm, title)
        return Alert(
            fingerprint=fingerprint,
            tenant=tenant,
            key=alarm.key,
            channel=alarm.channel,
            state="firing" if firing else "resolved",
            started_at=datetime.fromtimestamp(alarm.started_at, UTC),
            raised_at=datetime.fromtimestamp(alarm.raised_at, UTC),
            evidence=alarm.evidence,
            threshold=untold.threshold,
            negatives=alarm.negatives,
            comments=alarm.comments,
            share=alarm.share,
            baseline=alarm.baseline,
            effect=alarm.effect,
            severity=alarm.severity,
            title=title,
            historic=alarm.raised_at < watermark - PAGER_AGE_SECONDS,
            examples=found.examples if firing else (),
            parent=alarm.parent,
            common=alarm.common,
            terms=found.terms,
            slices=found.slices,
            link=link(self._river.settings.ops_url, tenant, fingerprint),
        )


def _identity(alert: Alert) -> Identity:
    """An incident is told when it begins, when it becomes graver, and when it ends."""
    return alert.tenant, alert.fingerprint, alert.state, alert.severity
