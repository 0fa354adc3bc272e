"""The pager: an alarm becomes an alert on alerts.v1, in Redis and at the webhooks, once.

alerts.v1 is the ledger of what has been told. After a crash an alarm may be raised again; it is
known there by its fingerprint, or, where event time came in another order, by its key.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from infra.alerting import AlertSender
from infra.telemetry import get_logger
from infra.warehouse import Warehouse, WarehouseError
from online.spikes import Alarm
from streams import topics
from streams.catalog import Catalog
from streams.events import Alert, encode, item_key
from streams.monitor_causes import causes
from streams.monitor_comments import CommentsAround
from streams.monitor_told import read_alerts
from streams.outlet import Outgoing
from streams.quotes import without_words
from streams.river import River

log = get_logger("monitor")

PAGER_AGE_SECONDS = 6 * 3600.0  # against the watermark: in a replay the wall clock says nothing
SAME_INCIDENT_SECONDS = 86_400.0


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
        self._comments = CommentsAround(warehouse, river.archive)
        self._sender = sender
        self.start({}, {})

    def start(self, firing: dict[str, dict[str, str]], aliases: dict[str, str]) -> None:
        """Begin a new ownership, or none; `recall` must follow.

        Args:
            firing: tenant → key → fingerprint of the incidents that the checkpoint knows.
        """
        self.aliases = dict(aliases)
        self._sender.let_go()
        self._recalled = False
        self._firing = firing
        self._told: set[tuple[str, str, str, str]] = set()
        self._open: dict[tuple[str, str], Alert] = {}

    async def recall(self) -> None:
        """Read alerts.v1, once an ownership: what has been told, and what of it is still open."""
        while not self._recalled:
            told = self._told
            alerts = await read_alerts(self._river.settings.kafka_url.get_secret_value())
            if told is self._told:  # else the stream has another owner since, or had one
                self._recalled = True
                self._take(alerts)
                await self._warm_up()

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

    async def _warm_up(self) -> None:
        """The first alert must wait neither for imports nor for a cold ClickHouse."""
        now = datetime.now(UTC).timestamp()
        nothing = Alarm("item:", "share", "firing", "", now, now, 0, 0, 0, 0, 0, 0, "minor")
        await self._sender.warm_up()
        try:
            await causes(self._comments, "", nothing, "")
        except WarehouseError as error:  # tables of an older version: said now, not at the alert
            log.warning("alert.causes_refused", error=str(error)[:300])

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
        payload = encode(alert)
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
        if alert.state == "resolved":
            self.aliases.pop(untold.alarm.fingerprint, None)
        await self._deliver(alert, payload, told)
        return True

    def _fingerprint(self, tenant: str, alarm: Alarm) -> str:
        """The incident's name; the one of before the crash where it has been told under another."""
        ours = self.aliases.get(alarm.fingerprint, alarm.fingerprint)
        before = self._open.pop((tenant, alarm.key), None)
        if before is None or before.fingerprint == ours:
            return ours
        if abs(before.started_at.timestamp() - alarm.started_at) > SAME_INCIDENT_SECONDS:
            return ours
        self.aliases[alarm.fingerprint] = before.fingerprint
        return before.fingerprint

    async def _deliver(self, alert: Alert, payload: bytes, told: object) -> None:
        """Redis and webhooks: retried within bounds, counted when they fail, never in the way.

        After a crash a receiver may hear an alert again, under the same fingerprint.
        """
        try:
            await self._river.store.publish_alert(alert.tenant, payload)
        except self._river.store.transient_errors:
            self._river.metrics.alert_failures.inc()
        if alert.historic:
            return
        if not await self._sender.send(alert_fields(alert), ours=told is self._told):
            self._river.metrics.alert_failures.inc()

    async def _describe(self, untold: Untold, watermark: float) -> Alert:
        tenant, alarm = untold.tenant, untold.alarm
        firing = alarm.state == "firing"
        item = alarm.key.partition(":")[2]
        title = self._catalog.title(tenant, item) if alarm.key.startswith("item:") else ""
        fingerprint = self._fingerprint(tenant, alarm)
        found = await causes(self._comments, tenant, alarm, title)
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
            link=f"/#alert={fingerprint}",
        )


def _identity(alert: Alert) -> tuple[str, str, str, str]:
    """An incident is told when it begins, when it becomes graver, and when it ends."""
    return alert.tenant, alert.fingerprint, alert.state, alert.severity


def alert_fields(alert: Alert) -> dict[str, Any]:
    """Labels, annotations and times, as Alertmanager names them."""
    return {
        "status": alert.state,
        "fingerprint": alert.fingerprint,
        "starts_at": alert.started_at,
        "ends_at": alert.raised_at if alert.state == "resolved" else None,
        "labels": {
            "alertname": "ModelDrift" if alert.channel == "drift" else "NegativeSpike",
            "tenant": alert.tenant,
            "key": alert.key,
            "channel": alert.channel,
            "severity": alert.severity,
            "parent": alert.parent or alert.key,  # what Alertmanager groups by
        },
        "annotations": {
            "summary": f"Negative comments on {alert.title or alert.key}: "
            f"{alert.negatives} of {alert.comments} ({alert.share:.0%}, usually "
            f"{alert.baseline:.0%})",
            "evidence": f"10^{alert.evidence:.1f} (alarm at 10^{alert.threshold:.1f})",
            "effect": f"{alert.effect:.2f}",
            "negatives": str(alert.negatives),
            "comments": str(alert.comments),
            "raised_at": alert.raised_at.isoformat(),
            "terms": ", ".join(alert.terms),
            "slice": slice_text(alert),
            "common": ", ".join(alert.common),
            "link": alert.link,
            "examples": " | ".join(example.text[:200] for example in alert.examples),
        },
    }


def slice_text(alert: Alert) -> str:
    """The likeliest slice in words; "" where the spike is everywhere."""
    first = alert.slices[0].attributes if alert.slices else {}
    return ", ".join(f"{name} {value}" for name, value in first.items())
