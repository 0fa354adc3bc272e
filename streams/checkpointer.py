"""Checkpoints: when an event's effect is durable, and only then, it is acknowledged."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from infra.telemetry import get_logger
from infra.warehouse import TransientError
from online.checkpoint import CheckpointStore
from streams.monitor import Monitor
from streams.partition import FORMAT, PartitionMeta, PartitionState, decode_meta, encode_meta
from streams.recommend import Recommend
from streams.river import River
from streams.topics import CLICKS

if TYPE_CHECKING:
    from streams.deltas import Deltas
    from streams.deltas_start import DeltasStart

log = get_logger("checkpoint")

MONITOR = "monitor"
RETRY_SECONDS = 1.0


def partition_name(partition: int) -> str:
    """The checkpoint of a user partition."""
    return f"partition-{partition}"


class Snapshot(NamedTuple):
    """Copies of everything, as of one moment, and the events whose effect they hold."""

    files: list[tuple[str, int, dict[str, Any], str]]
    events: list[tuple[Any, int]]
    journals: dict[str, dict[int, int]]


class Checkpointer:
    """Takes checkpoints in this order, which is the guarantee:

    0. snapshot: between two awaits, states, offsets and the events they account for;
    1. flush the sinks: every touched user's list in Redis, every row in ClickHouse, what
       our users added on item-deltas.v1;
    2. write the checkpoint files (in a thread, from the copies);
    3. acknowledge the events, upon which Faust commits their offsets.

    A crash before 2 replays the events from the former checkpoint; its rows are known by their
    offsets, its lists by their epoch. A crash between 2 and 3 replays events that the checkpoint
    already holds: they are skipped by offset.
    """

    def __init__(
        self,
        river: River,
        recommend: Recommend,
        monitor: Monitor,
        files: CheckpointStore,
        deltas: Deltas,
        start: DeltasStart,
    ) -> None:
        self._river = river
        self._recommend = recommend
        self._monitor = monitor
        self._files = files
        self._deltas = deltas
        self._start = start
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Checkpoint at the interval of the settings."""
        while True:
            await asyncio.sleep(self._river.settings.checkpoint_seconds)
            await self.checkpoint()

    async def checkpoint(self) -> None:
        """Take one checkpoint; one at a time."""
        async with self._lock:
            snapshot = self._snapshot()
            if not snapshot.events:
                return
            started = time.perf_counter()
            await self._recommend.flushed()
            await self._flush_archive()
            await self._deltas.flushed()
            await asyncio.to_thread(self._write, snapshot)
            self._deltas.settle(snapshot.journals)
            for event, _ in snapshot.events:
                event.ack()
            self._measure(time.perf_counter() - started)
            await self._river.room_made()

    def _measure(self, seconds: float) -> None:
        metrics, learners = self._river.metrics, self._river.learners.values()
        metrics.checkpoint_seconds.observe(seconds)
        metrics.users.set(sum(learner.users for learner in learners))
        metrics.items.set(sum(learner.items for learner in learners))

    def _snapshot(self) -> Snapshot:
        started = time.perf_counter()
        events, self._river.unacknowledged = self._river.unacknowledged, []
        files: list[tuple[str, int, dict[str, Any], str]] = []
        if events:
            self._deltas.cut()
            files = [self._partition(state) for state in self._river.partitions.values()]
            if 0 in self._river.partitions:  # one worker writes what all share
                files += self._shared(self._river.partitions[0].epoch)
            if self._monitor.owned:
                files.append((MONITOR, self._monitor.epoch, *self._monitor.snapshot()))
        self._river.metrics.checkpoint_pause.observe(time.perf_counter() - started)
        return Snapshot(files, events, self._deltas.positions())

    def _partition(self, state: PartitionState) -> tuple[str, int, dict[str, Any], str]:
        tenants = sorted(self._river.learners)
        meta, arrays = state.snapshot(tenants)
        for tenant in tenants:
            learned = self._river.learners[tenant].partition_state(state.partition)
            arrays |= {f"{tenant}/{name}": array for name, array in learned.items()}
        meta = msgspec.structs.replace(meta, deltas=self._deltas.position)
        return partition_name(state.partition), state.epoch, arrays, encode_meta(meta)

    def _shared(self, epoch: int) -> list[tuple[str, int, dict[str, Any], str]]:
        return [
            (f"shared-{tenant}", epoch, learner.shared_state(), self._deltas.mark())
            for tenant, learner in self._river.learners.items()
        ]

    def _write(self, snapshot: Snapshot) -> None:
        for name, epoch, arrays, header in snapshot.files:
            self._files.write(name, epoch, arrays, header)

    async def _flush_archive(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._river.archive.flush)
                return
            except TransientError as error:
                log.warning("clickhouse.retry", error=str(error), wait_seconds=RETRY_SECONDS)
                await asyncio.sleep(RETRY_SECONDS)

    async def assigned(self, partition: int) -> None:
        """Take over a user partition: a new epoch, then the last owner's checkpoint."""
        if partition in self._river.partitions:
            return
        epoch = await self._river.store.next_epoch(CLICKS, partition)
        self._deltas.epochs[partition] = epoch
        found = await asyncio.to_thread(self._files.read, partition_name(partition))
        state = PartitionState(partition, epoch)
        if found is not None:
            meta = decode_meta(found.header, PartitionMeta, FORMAT)
            state.restore(meta, found.arrays)
            for tenant in meta.tenants:
                arrays = arrays_of(tenant, found.arrays)
                await self._start.take_over(partition, tenant, arrays)
        await asyncio.to_thread(self._archive_assigned, partition)
        self._river.partition_loaded(state)
        log.info("partition.assigned", partition=partition, epoch=epoch, offsets=state.offsets)

    def _archive_assigned(self, partition: int) -> None:
        for topic in ("clicks.v1", "purchases.v1", "comments.v1"):
            self._river.archive.assigned("interactions", topic, partition)
        self._river.archive.assigned("scored_comments", "comments.v1", partition)
        self._river.archive.assigned("served", "served.v1", partition)

    async def monitor_assigned(self) -> None:
        """Take over the monitor's partition."""
        epoch = await self._river.store.next_epoch("sentiment.v1", 0)
        found = await asyncio.to_thread(self._files.read, MONITOR)
        await asyncio.to_thread(self._river.archive.assigned, "alerts", "alerts.v1", 0)
        self._monitor.take_over(epoch, found)

    async def revoked(self, partitions: set[int], monitor: bool) -> None:
        """Hand partitions over: a last checkpoint while they are still ours, then let go."""
        await self.checkpoint()
        self._river.new_generation()
        for partition in partitions:
            self._river.partition_lost(partition)
        if monitor:
            self._monitor.let_go()


def arrays_of(tenant: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """The tenant's own arrays of a partition file."""
    prefix = f"{tenant}/"
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
