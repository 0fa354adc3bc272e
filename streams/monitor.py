"""monitor: scored comments to the spike detectors; alarms to Kafka, ClickHouse, Redis, webhooks."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from infra.alerting import AlertSender
from infra.telemetry import get_logger
from infra.warehouse import TransientError, Warehouse
from online.checkpoint import Checkpoint
from online.spikes import Alarm, Observation, SpikeMonitor, most_telling
from streams import topics
from streams.batch_consumer import Batch
from streams.catalog import Catalog
from streams.events import Alert, AlertComment, Sentiment, encode, item_key
from streams.intake import Rejected
from streams.outlet import Outgoing
from streams.river import River

log = get_logger("monitor")

EXAMPLES = 5
CANDIDATES = 200
PAGER_AGE_SECONDS = 6 * 3600.0  # against the watermark: in a replay the wall clock says nothing


class MonitorMeta(Struct, frozen=True):
    """The JSON part of the monitor's checkpoint."""

    offset: int
    sources: dict[str, int]
    tenants: list[str]
    watermark: float
    format: int = 1


class Monitor:
    """The monitor agent: one of it sees all keys of every tenant."""

    def __init__(
        self, river: River, catalog: Catalog, warehouse: Warehouse, sender: AlertSender
    ) -> None:
        self._river = river
        self._catalog = catalog
        self._warehouse = warehouse
        self._sender = sender
        self._reset()
        self.owned = False
        self._ready = asyncio.Event()

    def _reset(self) -> None:
        self.epoch = 0
        self._offset = -1
        self._sources: dict[str, int] = {}
        self._tenants: dict[str, SpikeMonitor] = {}
        self._watermark = 0.0

    def take_over(self, epoch: int, found: Checkpoint | None) -> None:
        """Start from the last owner's checkpoint."""
        self._reset()
        self.epoch = epoch
        if found is not None:
            meta = msgspec.json.decode(found.header, type=MonitorMeta)
            self._offset, self._sources = meta.offset, dict(meta.sources)
            self._watermark = meta.watermark
            for tenant in meta.tenants:
                prefix = f"{tenant}/"
                self._spikes(tenant).load(
                    {
                        name.removeprefix(prefix): array
                        for name, array in found.arrays.items()
                        if name.startswith(prefix)
                    }
                )
        self.owned = True
        self._ready.set()

    def let_go(self) -> None:
        """Another worker owns the monitor's partition now."""
        self.owned = False
        self._ready.clear()
        self._reset()

    def snapshot(self) -> tuple[dict[str, Any], str]:
        """Arrays and header of the checkpoint."""
        arrays = {
            f"{tenant}/{name}": array
            for tenant, spikes in self._tenants.items()
            for name, array in spikes.state().items()
        }
        meta = MonitorMeta(
            self._offset, dict(self._sources), sorted(self._tenants), self._watermark
        )
        return arrays, msgspec.json.encode(meta).decode()

    def _spikes(self, tenant: str) -> SpikeMonitor:
        found = self._tenants.get(tenant)
        if found is None:
            budget = self._river.settings.false_alarms_per_day
            found = self._tenants[tenant] = SpikeMonitor(false_alarms_per_day=budget)
        return found

    async def handle(self, batch: Batch) -> None:
        """Observe a batch; alarms are out before the batch counts as done."""
        await self._ready.wait()
        rejected: list[tuple[int, str]] = []
        observed: dict[str, list[Observation]] = {}
        for index, offset in enumerate(batch.offsets):
            if offset <= self._offset:
                continue
            message = self._river.intake.read(batch.topic, batch.values[index])
            if isinstance(message, Rejected):
                rejected.append((index, message.reason))
            elif self._is_new(message):
                observed.setdefault(message.tenant, []).append(observation(message))
        await self._river.dead_letter(batch, rejected)
        alarms = [
            (tenant, alarm)
            for tenant, observations in observed.items()
            for alarm in self._spikes(tenant).observe(observations)
        ]
        newest = [each.occurred_at for group in observed.values() for each in group]
        self._watermark = max([self._watermark, *newest])
        self._offset = max(self._offset, batch.offsets[-1])
        for tenant, alarm in alarms:
            await self._raise(tenant, alarm)

    def _is_new(self, message: Sentiment) -> bool:
        """Comments scored again after a crash come back under new offsets: know their source."""
        source = str(message.source_partition)
        if message.source_offset <= self._sources.get(source, -1):
            return False
        self._sources[source] = message.source_offset
        return True

    async def _raise(self, tenant: str, alarm: Alarm) -> None:
        alert = await self._describe(tenant, alarm)
        log.warning(
            "alert." + alert.state,
            key=alert.key,
            evidence=round(alert.evidence, 2),
            negatives=alert.negatives,
            comments=alert.comments,
        )
        payload = encode(alert)
        record = Outgoing(topics.ALERTS, item_key(tenant, alert.key), payload, 0)
        if not await self._known(alert):
            await self._river.outlet.write([record])
        self._river.metrics.alerts.labels(alert.state).inc()
        await self._deliver(alert, payload)

    async def _known(self, alert: Alert) -> bool:
        """Whether a run before a crash has put it on alerts.v1 already."""
        rows = await self._query(
            "SELECT count() AS n FROM alerts WHERE tenant = %(tenant)s"
            " AND fingerprint = %(fingerprint)s AND state = %(state)s AND evidence = %(evidence)s",
            {
                "tenant": alert.tenant,
                "fingerprint": alert.fingerprint,
                "state": alert.state,
                "evidence": alert.evidence,
            },
        )
        return bool(rows and rows[0]["n"])

    async def _deliver(self, alert: Alert, payload: bytes) -> None:
        """Redis and webhooks: retried within bounds, counted when they fail, never in the way."""
        try:
            await self._river.store.publish_alert(alert.tenant, payload)
        except (OSError, *self._river.store.transient_errors):
            self._river.metrics.alert_failures.inc()
        if alert.historic:
            return
        if not await self._sender.send(alert_fields(alert)):
            self._river.metrics.alert_failures.inc()

    async def _describe(self, tenant: str, alarm: Alarm) -> Alert:
        examples = await self._examples(tenant, alarm) if alarm.state == "firing" else ()
        item = alarm.key.partition(":")[2]
        title = self._catalog.title(tenant, item) if alarm.key.startswith("item:") else ""
        spikes = self._spikes(tenant)
        return Alert(
            fingerprint=alarm.fingerprint,
            tenant=tenant,
            key=alarm.key,
            channel=alarm.channel,
            state="resolved" if alarm.state == "resolved" else "firing",
            started_at=datetime.fromtimestamp(alarm.started_at, UTC),
            raised_at=datetime.fromtimestamp(alarm.raised_at, UTC),
            evidence=alarm.evidence,
            threshold=spikes.threshold_log10(),
            negatives=alarm.negatives,
            comments=alarm.comments,
            share=alarm.share,
            baseline=alarm.baseline,
            effect=alarm.effect,
            severity=alarm.severity,
            title=title,
            historic=alarm.raised_at < self._watermark - PAGER_AGE_SECONDS,
            examples=examples,
        )

    async def _examples(self, tenant: str, alarm: Alarm) -> tuple[AlertComment, ...]:
        """The most telling negative comments since the spike began, from ClickHouse."""
        try:
            await asyncio.to_thread(self._river.archive.flush)
        except TransientError:
            log.warning("alert.examples_incomplete", key=alarm.key)
        kind, _, name = alarm.key.partition(":")
        where = {"item": "AND item_id = %(name)s", "topic": "AND has(topics, %(name)s)"}
        rows = await self._query(
            "SELECT id, text, negative, occurred_at FROM scored_comments"
            " WHERE tenant = %(tenant)s AND label = 'negative'"
            " AND occurred_at BETWEEN %(start)s AND %(end)s "
            + where.get(kind, "")
            + " ORDER BY negative DESC, id LIMIT %(limit)s",
            {
                "tenant": tenant,
                "name": name,
                "start": datetime.fromtimestamp(alarm.started_at, UTC),
                "end": datetime.fromtimestamp(alarm.raised_at, UTC),
                "limit": CANDIDATES,
            },
        )
        chosen = most_telling([(r["id"], r["text"], r["negative"]) for r in rows], EXAMPLES)
        return tuple(
            AlertComment(
                rows[i]["id"],
                rows[i]["text"],
                rows[i]["negative"],
                rows[i]["occurred_at"].replace(tzinfo=UTC),
            )
            for i in chosen
        )

    async def _query(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        """Rows, none where ClickHouse is away: an alert must not wait for it."""
        try:
            return await asyncio.to_thread(self._warehouse.query, sql, parameters)
        except TransientError as error:
            log.warning("clickhouse.away", error=str(error))
            return []


def observation(message: Sentiment) -> Observation:
    """A record of sentiment.v1 as the detectors take it."""
    return Observation(
        message.id,
        message.item_id,
        message.topics,
        message.label == "negative",
        message.negative,
        message.author_cluster,
        message.occurred_at.timestamp(),
    )


def alert_fields(alert: Alert) -> dict[str, Any]:
    """Labels, annotations and times, as Alertmanager names them."""
    texts = " | ".join(example.text[:200] for example in alert.examples)
    return {
        "status": alert.state,
        "fingerprint": alert.fingerprint,
        "starts_at": alert.started_at,
        "ends_at": alert.raised_at if alert.state == "resolved" else None,
        "labels": {
            "alertname": "NegativeSpike",
            "tenant": alert.tenant,
            "key": alert.key,
            "channel": alert.channel,
            "severity": alert.severity,
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
            "examples": texts,
        },
    }
