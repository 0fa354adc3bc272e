"""Checkpoints: when an event's effect is durable, and only then, it is acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from infra.telemetry import get_logger
from online.changes import of_tenant
from online.checkpoint import Checkpoint, CheckpointStore
from online.checkpoint_chain import Chain
from online.interactions import LeftOut
from streams.epochs import MONITOR, Epochs, new_epochs
from streams.in_turn import in_turn
from streams.monitor import Monitor
from streams.partition import (
    FORMAT,
    PartitionMeta,
    PartitionState,
    decode_meta,
    encode_meta,
    partition_name,
)
from streams.recommend import Recommend
from streams.river import River
from streams.sinks import NotOursError, Sinks

if TYPE_CHECKING:
    from streams.deltas import Deltas
    from streams.deltas_start import DeltasStart

log = get_logger("checkpoint")

INTERVALS_BEHIND = 5
SHARED_SECONDS = 10.0  # the shared model is as large after a quiet interval as after a busy one


class Taken(NamedTuple):
    """Copies of one part of the state as of one moment; `chain` for a partition's changes."""

    name: str
    epoch: int
    arrays: dict[str, Any]
    header: str
    chain: Chain | None = None


class Checkpointer:
    """Takes checkpoints in this order, which is the guarantee:

    0. take the events that wait for their acknowledgement, then copy what changed, partition by
       partition, each with its offsets between two awaits: it holds the effect of these events;
    1. flush the sinks: every touched user's list in Redis, every row in ClickHouse, what
       our users added on item-deltas.v1;
    2. write the checkpoint files (in a thread, from the copies);
    3. acknowledge the events, upon which Faust commits their offsets.

    A crash before 2 replays the events from the former checkpoint; its rows are known by their
    offsets, its lists by their epoch. A crash between 2 and 3 replays events that the checkpoint
    already holds: they are skipped by offset.

    Partitions that Kafka may have given to others (`Membership`) are let go without a
    checkpoint: what it would hold comes to their owners again.
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
        self._monitor = monitor
        self._files = files
        self._deltas = deltas
        self._start = start
        self._lock = asyncio.Lock()
        self._recommend = recommend
        self._sinks = Sinks(river, recommend)
        self._chains: dict[int, Chain] = {}
        self._written: dict[int, dict[str, int]] = {}  # offsets
        self._shared_at = 0.0
        self._durable: dict[int, dict[str, int]] = {}  # offsets that are on disk

    async def run(self) -> None:
        """Checkpoint at the interval of the settings, or once much waits for it.

        Behind a backlog it costs a list for nearly every user, and comes less often.
        """
        while True:
            for _ in range(INTERVALS_BEHIND):
                if await self._is_due() or not self._recommend.behind:
                    break
            self._river.checkpoint_due.clear()
            with suppress(NotOursError):
                await self.checkpoint()

    async def _is_due(self) -> bool:
        with suppress(TimeoutError):
            due = self._river.checkpoint_due.wait()
            return await asyncio.wait_for(due, self._river.settings.checkpoint_seconds)
        return False

    async def checkpoint(self, last: bool = False) -> None:
        """Take one checkpoint; one at a time. The `last` one has the shared model in any case.

        Raises:
            NotOursError: partitions are being let go, and may be others' already.
        """
        if last:
            self._sinks.leave()
        async with self._lock:
            if self._sinks.abandoned:
                raise NotOursError("an earlier checkpoint was given up")
            events, self._river.unacknowledged = self._river.unacknowledged, []
            if not events and not last:
                return
            started = time.perf_counter()
            self._deltas.cut()
            journals = self._deltas.positions()
            taken = await self._take(last)
            await self._sinks.flushed()
            # A partition's copy may hold more than was cut above, never more than was sent now.
            self._deltas.cut()
            await self._deltas.flushed()
            await asyncio.to_thread(self._write, taken)
            self._deltas.settle(journals)
            self._durable = {number: dict(at) for number, at in self._written.items()}
            for event, _ in events:
                event.ack()
            self._measure(time.perf_counter() - started)
            await self._river.room_made()
            await asyncio.to_thread(self._merge)

    def holds(self, partition: int, topic: str, offset: int) -> bool:
        """Whether a checkpoint on disk holds the effect of the record at this offset."""
        return self._durable.get(partition, {}).get(topic, -1) >= offset

    def _measure(self, seconds: float) -> None:
        metrics, learners = self._river.metrics, self._river.learners.values()
        metrics.checkpoint_seconds.observe(seconds)
        metrics.users.set(sum(learner.users for learner in learners))
        metrics.items.set(sum(learner.items for learner in learners))
        for name in LeftOut._fields:
            getattr(metrics, name).set(sum(getattr(one.left_out, name) for one in learners))

    async def _take(self, last: bool) -> list[Taken]:
        taken: list[Taken] = []
        for state in list(self._river.partitions.values()):
            if self._river.owns(state):
                taken += self._pausing(partial(self._partition, state))
                await asyncio.sleep(0)
        erased = any(chain.erase for chain in self._chains.values())
        due = last or erased or time.monotonic() - self._shared_at >= SHARED_SECONDS
        if due and 0 in self._river.partitions:  # one worker writes what all share
            taken += await self._shared(self._river.partitions[0].epoch)
            self._shared_at = time.monotonic()
        monitor = self._monitor
        if monitor.owned and monitor.changed:
            taken += self._pausing(lambda: [Taken(MONITOR, monitor.epoch, *monitor.snapshot())])
        return taken

    def _pausing(self, copy: Callable[[], list[Taken]]) -> list[Taken]:
        """Learning stands still meanwhile."""
        started = time.perf_counter()
        taken = copy()
        self._river.metrics.checkpoint_pause.observe(time.perf_counter() - started)
        return taken

    def _partition(self, state: PartitionState) -> list[Taken]:
        number, tenants = state.partition, sorted(self._river.learners)
        changes = {
            tenant: self._river.learners[tenant].partition_changes(number) for tenant in tenants
        }
        changed = any(len(arrays["users.slot"]) for arrays in changes.values())
        if not changed and self._written.get(number) == state.offsets:
            return []
        self._written[number] = dict(state.offsets)
        meta, arrays = state.snapshot(tenants)
        meta = msgspec.structs.replace(meta, deltas=self._deltas.position)
        for tenant, mine in changes.items():
            arrays |= {f"{tenant}/{name}": array for name, array in mine.items()}
        if number not in self._chains:
            self._chains[number] = Chain(self._files, partition_name(number), state.epoch)
        chain = self._chains[number]
        chain.erase, state.erased_since = chain.erase or state.erased_since, False
        return [Taken(partition_name(number), state.epoch, arrays, encode_meta(meta), chain)]

    async def _shared(self, epoch: int) -> list[Taken]:
        taken = []
        for tenant, learner in list(self._river.learners.items()):
            arrays: dict[str, Any] = {}
            mark = self._deltas.mark()
            await in_turn(learner.sharing(arrays))
            taken.append(Taken(f"shared-{tenant}", epoch, arrays, mark))
        return taken

    def _write(self, taken: list[Taken]) -> None:
        for part in taken:
            if part.chain is not None:
                size = part.chain.append(part.arrays, part.header)
            else:
                size = self._files.write(part.name, part.epoch, part.arrays, part.header)
            self._river.metrics.checkpoint_bytes.inc(size)

    def _merge(self) -> None:
        """At most one partition after each checkpoint: the next one waits for it.

        Those that forgot an erased user at once, and whole: older files name him.
        """
        for chain in [chain for chain in self._chains.values() if chain.erase]:
            self._river.metrics.checkpoint_bytes.inc(chain.merge_whole())
        for chain in list(self._chains.values()):
            size = chain.merge()
            if size:
                self._river.metrics.checkpoint_bytes.inc(size)
                return

    async def epochs(self, partitions: Iterable[int], monitor: bool) -> Epochs:
        """New ones, for the user partitions that are new to us and for the monitor's."""
        fresh = set(partitions) - set(self._river.partitions)
        return await new_epochs(self._river.store, self._files, fresh, monitor)

    async def assigned(self, epochs: Epochs) -> None:
        """Take over partitions under epochs that no later owner can have passed yet."""
        self._river.archive.assigned()
        for number, epoch in epochs.partitions.items():
            await self._assigned(number, epoch)
        if epochs.monitor is not None:
            found = await asyncio.to_thread(self._files.read, MONITOR)
            self._monitor.take_over(epochs.monitor, found)

    async def _assigned(self, partition: int, epoch: int) -> None:
        """Go on from the last owner's checkpoint."""
        self._deltas.epochs[partition] = epoch
        found = await asyncio.to_thread(self._files.read, partition_name(partition))
        state = PartitionState(partition, epoch)
        if found is not None:
            await self._load(state, found)
        self._river.partition_loaded(state)
        log.info("partition.assigned", partition=partition, epoch=epoch, offsets=state.offsets)

    async def _load(self, state: PartitionState, found: Checkpoint) -> None:
        """Go on from a former owner's checkpoint, with a whole of our own that nobody deletes."""
        meta = decode_meta(found.header, PartitionMeta, FORMAT)
        state.restore(meta, found.arrays)
        whole = {name: array for name, array in found.arrays.items() if "/" not in name}
        for tenant in meta.tenants:
            first: list[dict[str, Any]] = []
            arrays = of_tenant(tenant, found.arrays)
            await self._start.take_over(state.partition, tenant, arrays, first)
            for change in first:
                whole |= {f"{tenant}/{name}": array for name, array in change.items()}
        chain = Chain(self._files, partition_name(state.partition), state.epoch)
        await asyncio.to_thread(chain.append, whole, found.header)
        self._chains[state.partition] = chain

    async def revoked(self, partitions: set[int], monitor: bool) -> None:
        """Hand partitions over: a last checkpoint while they are still ours, then let go.

        What came after it was taken comes to their next owners again, its rows too.
        """
        try:
            await self.checkpoint(last=True)
        except NotOursError as reason:
            log.warning("partitions.lost", partitions=sorted(partitions), reason=str(reason))
        self._sinks.stay()
        self._river.new_generation()
        for partition in partitions:
            self._let_go(partition)
        if monitor:
            self._monitor.let_go()
        # Without an await until here: a row of the next generation is none of these.
        self._river.archive.drop()
        for partition in partitions:
            await self._unlearn(partition)
        await asyncio.to_thread(self._river.archive.settled)

    async def lost(self, partition: int) -> None:
        """Let a partition go, and what it added to the statistics."""
        self._let_go(partition)
        await self._unlearn(partition)

    def _let_go(self, partition: int) -> None:
        self._chains.pop(partition, None)
        self._written.pop(partition, None)
        self._river.partition_lost(partition)

    async def _unlearn(self, partition: int) -> None:
        for learner in list(self._river.learners.values()):
            await in_turn(learner.dropping(partition))
