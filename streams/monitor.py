"""monitor: scored comments, in order of event time, to the spike detectors; alarms to the pager.

Nothing is lost by a crash, because what has no effect yet is part of the checkpoint: comments that
wait for their turn, and alarms that are not told yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import Any

import msgspec
from msgspec import Struct

from infra.alerting import AlertSender
from infra.alerting_bodies import Owed
from infra.telemetry import get_logger
from infra.warehouse import Warehouse
from online.checkpoint import Checkpoint
from online.spikes import Observation, SpikeMonitor, author_hash
from streams.batch_consumer import Batch
from streams.catalog import Catalog
from streams.events import Sentiment
from streams.intake import Rejected
from streams.ledger import IdWindow
from streams.monitor_order import Reordering, Waiting
from streams.monitor_pager import Pager, Untold
from streams.partition import decode_meta
from streams.river import MAX_TENANTS, River

log = get_logger("monitor")

TICK_SECONDS = 0.25
LOOK_SECONDS = 60.0
# Without a comment of a tenant its stream pauses or has ended, and is no replay at full speed.
SILENT_SECONDS = 3_600.0
FORMAT = 4
MOST_UNTOLD = 1_000
SEEN = 200_000  # comments whose source is known: far more than can be scored again after a crash
PARTITION_BITS = 48
OWN = "_order"  # prefix of what belongs to no tenant: no tenant can be called that


class MonitorMeta(Struct, frozen=True):
    """The JSON part of the monitor's checkpoint.

    Attributes:
        offset: last one of sentiment.v1 whose effect is in here.
        watermark: newest event time that the detectors have seen, epoch seconds.
        untold: alarms that have been raised and not been told.
        aliases: fingerprint → the one under which the same incident was told before a crash.
        owed: receiver of alerts → what it has not taken; alerts.v1 has these alerts.
    """

    offset: int
    tenants: list[str]
    watermark: float
    untold: list[Untold] = []
    aliases: dict[str, str] = {}
    owed: dict[str, list[Owed]] = {}
    format: int = FORMAT


class Monitor:
    """The monitor agent: one of it sees all keys of every tenant."""

    def __init__(
        self, river: River, catalog: Catalog, warehouse: Warehouse, sender: AlertSender
    ) -> None:
        self._river = river
        self._pager = Pager(river, catalog, warehouse, sender)
        self._reset()
        self.owned = False
        self._ready = asyncio.Event()
        self._alarmed = asyncio.Event()
        self._told = asyncio.Condition()

    def _reset(self) -> None:
        self.epoch = 0
        self._changed = False
        self._owed: dict[str, list[Owed]] = {}  # as the last checkpoint has it
        self._offset = -1
        self._seen = IdWindow(SEEN)
        self._tenants: dict[str, SpikeMonitor] = {}
        self._order = Reordering(self._river.user_partitions)
        self._watermark = 0.0
        self._heard: dict[str, float] = {}
        self._looked = time.monotonic()
        self._untold: deque[Untold] = deque()
        self._pager.start({}, {}, {})

    def take_over(self, epoch: int, found: Checkpoint | None) -> None:
        """Start from the last owner's checkpoint."""
        self._reset()
        self.epoch = epoch
        if found is not None:
            self._load(found)
        self.owned = True
        self._ready.set()

    def _load(self, found: Checkpoint) -> None:
        meta = decode_meta(found.header, MonitorMeta, FORMAT)
        self._offset = meta.offset
        self._seen.load(found.arrays[f"{OWN}/seen"])
        self._watermark = meta.watermark
        self._untold = deque(meta.untold)
        for tenant in meta.tenants:
            self._spikes(tenant).load(_named(found.arrays, tenant))
            self._heard[tenant] = time.monotonic()
        if f"{OWN}/waiting" in found.arrays:
            self._order.load(_named(found.arrays, OWN), time.monotonic())
        firing = {tenant: spikes.firing() for tenant, spikes in self._tenants.items()}
        self._pager.start(firing, meta.aliases, meta.owed)
        self._owed = meta.owed

    @property
    def changed(self) -> bool:
        """Whether there is what the last `snapshot` had not."""
        return self._changed or self._pager.owed() != self._owed

    def firing_keys(self) -> dict[str, set[str]]:
        """Tenant → keys with an open incident."""
        return {tenant: set(spikes.firing()) for tenant, spikes in self._tenants.items()}

    def let_go(self) -> None:
        """Another worker owns the monitor's partition now."""
        self.owned = False
        self._ready.clear()
        self._reset()

    def snapshot(self) -> tuple[dict[str, Any], str]:
        """Arrays and header of the checkpoint."""
        arrays = {f"{OWN}/{name}": array for name, array in self._order.state().items()}
        arrays[f"{OWN}/seen"] = self._seen.array()
        for tenant, spikes in self._tenants.items():
            arrays |= {f"{tenant}/{name}": array for name, array in spikes.state().items()}
        meta = MonitorMeta(
            self._offset,
            sorted(self._tenants),
            self._watermark,
            list(self._untold),
            dict(self._pager.aliases),
            self._pager.owed(),
        )
        self._changed, self._owed = False, meta.owed
        return arrays, msgspec.json.encode(meta).decode()

    def _spikes(self, tenant: str) -> SpikeMonitor:
        found = self._tenants.get(tenant)
        if found is None:
            budget = self._river.settings.false_alarms_per_day
            found = self._tenants[tenant] = SpikeMonitor(false_alarms_per_day=budget)
        return found

    async def handle(self, batch: Batch) -> None:
        """Take a batch of sentiment.v1."""
        await self._ready.wait()
        async with self._told:
            await self._told.wait_for(lambda: len(self._untold) < MOST_UNTOLD)
        if batch.generation != self._river.generation:
            return  # it was fetched for an earlier assignment, and comes again
        epoch = self.epoch
        read: list[tuple[Sentiment, bytes | None]] = []
        rejected: list[tuple[int, str]] = []
        for index, offset in enumerate(batch.offsets):
            if offset <= self._offset:
                continue
            message = self._river.intake.read(batch.topic, batch.values[index])
            if isinstance(message, Rejected):
                rejected.append((index, message.reason))
            elif message.tenant not in self._tenants and len(self._tenants) >= MAX_TENANTS:
                rejected.append((index, "too many tenants on this worker"))
            else:
                read.append((message, batch.keys[index]))
        await self._river.dead_letter(batch, rejected)
        if epoch != self.epoch:
            return
        # From here to the end without an await: offsets and what they stand for move together.
        arrived = [waiting(message, key) for message, key in read if self._is_new(message)]
        self._offset = max(self._offset, batch.offsets[-1])
        self._changed = True
        self._observe(self._order.take(arrived, time.time(), time.monotonic()))

    def _is_new(self, message: Sentiment) -> bool:
        """Comments scored again after a crash come back under new offsets: know their source."""
        source = message.source_partition << PARTITION_BITS | message.source_offset
        if source in self._seen:
            return False
        self._seen.add(source)
        return True

    def _observe(self, ready: list[Waiting]) -> None:
        """Show the detectors what is in order; keep their alarms until they are told."""
        self._changed |= bool(ready)
        by_tenant: dict[str, list[Observation]] = {}
        for each in ready:
            by_tenant.setdefault(each.tenant, []).append(each.observation)
            self._watermark = max(self._watermark, each.at)
        for tenant, observations in by_tenant.items():
            spikes, self._heard[tenant] = self._spikes(tenant), time.monotonic()
            refused = spikes.refused
            for alarm in spikes.observe(observations):
                self._untold.append(Untold(tenant, spikes.threshold_log10(), alarm))
            self._river.metrics.keys_refused.inc(spikes.refused - refused)
        self._river.metrics.queue.labels("monitor_waiting").set(len(self._order))
        self._river.metrics.queue.labels("alerts_untold").set(len(self._untold))
        if self._untold:
            self._alarmed.set()

    async def run(self) -> None:
        """Tell alarms as they come, and let go of what waits for a stream that has ended."""
        while True:
            await self._ready.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._alarmed.wait(), TICK_SECONDS)
            self._alarmed.clear()
            if self.owned:
                self._observe(self._order.release(time.monotonic()))
                self._end_silent(time.time(), time.monotonic())
                await self._tell()
                async with self._told:  # after a hand-over there may be nothing to tell
                    self._told.notify_all()

    def _end_silent(self, now: float, awake: float) -> None:
        """End incidents of tenants from whom nothing comes any more."""
        if awake < self._looked + LOOK_SECONDS:
            return
        self._looked = awake
        for tenant, heard in self._heard.items():
            if awake >= heard + SILENT_SECONDS:
                spikes = self._tenants[tenant]
                ended = spikes.end_silent(now)
                self._untold.extend(Untold(tenant, spikes.threshold_log10(), a) for a in ended)
                self._changed |= bool(ended)

    async def _tell(self) -> None:
        """Tell the alarms in order; each leaves the checkpoint once it has been told.

        While another monitor may have been given the stream, none is: it tells them too.
        """
        await self._pager.recall()
        while self._untold and self._river.certain():
            epoch, first = self.epoch, self._untold[0]
            told = await self._pager.tell(first, self._watermark)
            if epoch != self.epoch:
                return
            if not told:
                continue
            self._untold.popleft()
            self._changed = True
            async with self._told:
                self._told.notify_all()
        await self._pager.end_forgotten(self._watermark)


def waiting(message: Sentiment, key: bytes | None) -> Waiting:
    """A record of sentiment.v1 as it waits for the detectors.

    Args:
        key: the record's, the author's pseudonym: who has no cluster is his own.
    """
    author = message.author_cluster or (key or b"").decode("utf-8", "replace")
    at = message.occurred_at.timestamp()
    observation = Observation(
        message.item_id,
        message.topics,
        message.negative,
        author_hash(author),
        at,
        message.model_version,
        message.language or "",
    )
    return Waiting(at, message.source_partition, message.source_offset, message.tenant, observation)


def _named(arrays: dict[str, Any], owner: str) -> dict[str, Any]:
    prefix = f"{owner}/"
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
