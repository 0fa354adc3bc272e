"""What the agents of one worker share: partitions, learners, sinks, and the acknowledgement rule.

Everything here lives in one asyncio loop, and state changes only between two awaits: a snapshot
taken in one go is therefore consistent with the offsets it carries.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from infra.metrics import WorkerMetrics
from infra.pseudonym import Pseudonymiser
from infra.serving import AsyncRedisTopKStore
from infra.settings import Settings
from infra.telemetry import get_logger
from infra.warehouse import ArchiveWriter
from online.config import STATISTICS
from online.learner import Learner, LearnerConfig
from streams.batch_consumer import Batch
from streams.components import ALL, Components
from streams.dead_letter import make_dead_letter
from streams.erasure import Erasures
from streams.events import encode
from streams.fatal import fatal
from streams.intake import Intake
from streams.outlet import Outgoing, Outlet
from streams.partition import PartitionState
from streams.topics import DEAD_LETTER, PARTITIONS

log = get_logger("worker")

MAX_TENANTS = 64
MAX_UNACKNOWLEDGED = 300_000
# So many ask for a checkpoint before its time: learning need not stand still until then.
MANY_UNACKNOWLEDGED = 200_000
MAX_ARCHIVE_ROWS = 200_000


class River:
    """The shared state and sinks of a worker."""

    def __init__(
        self,
        settings: Settings,
        metrics: WorkerMetrics,
        store: AsyncRedisTopKStore,
        archive: ArchiveWriter,
        pseudonyms: Pseudonymiser,
        outlet: Outlet,
        components: Components = ALL,
    ) -> None:
        self.settings = settings
        self.components = components
        self.metrics = metrics
        self.store = store
        self.archive = archive
        self.pseudonyms = pseudonyms
        self.outlet = outlet
        self.erasures = Erasures(settings.kafka_url.get_secret_value(), pseudonyms)
        self.intake = Intake(settings.max_age_seconds)
        self.user_partitions = PARTITIONS  # of each topic keyed by users
        self.partitions: dict[int, PartitionState] = {}
        self.learners: dict[str, Learner] = {}
        self.shared_arrays: dict[str, dict[str, Any]] = {}
        self.unacknowledged: list[tuple[Any, int]] = []
        self.checkpoint_due = asyncio.Event()
        self.generation = 0
        self._next_offsets: dict[tuple[str, int], int] = {}
        self.on_learner: Callable[[str, Learner], None] | None = None
        self._partition_ready: dict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._room = asyncio.Condition()

    def learner(self, tenant: str) -> Learner:
        """The tenant's learner, made at its first event."""
        found = self.learners.get(tenant)
        if found is None:
            config = LearnerConfig(
                max_users=self.settings.max_users, max_items=self.settings.max_items
            )
            if self.components.learner == "statistics":
                config = msgspec.structs.replace(config, components=STATISTICS)
            found = self.learners[tenant] = Learner(config)
            if self.on_learner is not None:
                self.on_learner(tenant, found)
            if tenant in self.shared_arrays:
                found.load_shared(self.shared_arrays.pop(tenant))
        return found

    def admits(self, tenant: str) -> bool:
        """Whether the tenant is known or there is room for one more."""
        return tenant in self.learners or len(self.learners) < MAX_TENANTS

    async def partition(self, batch: Batch) -> PartitionState | None:
        """The state of the batch's partition; waits until its checkpoint is loaded.

        None where partitions were handed out anew since it was fetched: it comes again to whom it
        goes. Whoever has waited for anything since he was given the batch must ask here.
        """
        while batch.generation == self.generation:
            if batch.partition in self.partitions:
                return self.partitions[batch.partition]
            await self._partition_ready[batch.partition].wait()
        return None

    def certain(self) -> bool:
        """Whether nobody else can own our partitions yet (see `Membership`)."""
        return self.archive.certain()

    def owns(self, state: PartitionState) -> bool:
        """False once the partition was handed on: what is in hand then belongs to its new owner."""
        return self.partitions.get(state.partition) is state

    def partition_loaded(self, state: PartitionState) -> None:
        """Let the agents work on the partition."""
        self.partitions[state.partition] = state
        self._partition_ready[state.partition].set()

    def partition_lost(self, number: int) -> None:
        """The partition is not ours any more; the checkpointer takes it out of the learners."""
        self.partitions.pop(number, None)
        self._partition_ready.pop(number, None)

    @property
    def unacknowledged(self) -> list[tuple[Any, int]]:
        """Faust's events and how many records each holds, in order."""
        return self._unacknowledged

    @unacknowledged.setter
    def unacknowledged(self, events: list[tuple[Any, int]]) -> None:
        self._unacknowledged = events
        self._records = sum(count for _, count in events)  # asked for at every batch

    async def admit(self) -> None:
        """Back-pressure: wait while too much is unacknowledged or not yet archived."""
        async with self._room:
            await self._room.wait_for(self._has_room)

    def _has_room(self) -> bool:
        waiting = self._records
        if waiting >= MANY_UNACKNOWLEDGED:
            self.checkpoint_due.set()
        return waiting < MAX_UNACKNOWLEDGED and self.archive.pending_rows < MAX_ARCHIVE_ROWS

    async def room_made(self) -> None:
        """Wake those that wait in `admit`."""
        async with self._room:
            self._room.notify_all()

    def acknowledge_later(self, event: Any, batch: Batch, generation: int) -> None:
        """The event's effect is in memory; the next checkpoint acknowledges it.

        Nothing of an earlier assignment is acknowledged: its handler may have stopped half-way,
        and what the last checkpoint did not hold is fetched again.
        """
        event.value = event.message.value = None  # where it ends is all that is left to say
        if generation == self.generation:
            self.unacknowledged.append((event, len(batch.offsets)))
            self._records += len(batch.offsets)
            known = self.next_offset(batch.topic, batch.partition)
            following = max(known, batch.offsets[-1] + 1)
            self._next_offsets[batch.topic, batch.partition] = following

    def next_offset(self, topic: str, partition: int) -> int:
        """The first that is not worked off; 0 where nothing was since partitions were given."""
        return self._next_offsets.get((topic, partition), 0)

    def new_generation(self) -> None:
        """Partitions go: what is still unacknowledged belongs to whoever owns them next."""
        self.generation += 1
        self.unacknowledged = []
        self._next_offsets = {}
        waited_for, self._partition_ready = self._partition_ready, defaultdict(asyncio.Event)
        for ready in waited_for.values():
            ready.set()

    async def dead_letter(self, batch: Batch, rejected: list[tuple[int, str]]) -> None:
        """Write the records at these indices with their reasons; returns once the broker has them.

        A crash afterwards may write one twice: its source topic, partition and offset tell.
        """
        if not rejected:
            return
        letters = []
        for index, reason in rejected:
            key, offset = batch.keys[index], batch.offsets[index]
            letter = make_dead_letter(
                reason, batch.topic, batch.partition, offset, key, batch.values[index]
            )
            source = f"{batch.topic}/{batch.partition}/{offset}".encode()
            letters.append(Outgoing(DEAD_LETTER, source, encode(letter), 0))
            log.warning(
                "event.dead_lettered",
                reason=reason,
                topic=batch.topic,
                partition=batch.partition,
                offset=offset,
            )
        await self.outlet.write(letters)
        self.metrics.dead_letters.labels(batch.topic).inc(len(letters))


def one_by_one(
    handle: Callable[[Batch], Awaitable[None]],
) -> Callable[[Sequence[Batch]], Awaitable[None]]:
    """For a handler that takes a single batch."""

    async def handle_all(batches: Sequence[Batch]) -> None:
        for batch in batches:
            await handle(batch)

    return handle_all


def agent(
    river: River,
    handle: Callable[[Sequence[Batch]], Awaitable[None]],
    most: int = 1,
    gathered: int = 1,
) -> Callable[[Any], Awaitable[None]]:
    """A Faust agent body: batches in order, acknowledged with the next checkpoint.

    Args:
        handle: takes what gathered while it was busy, at least one batch.
        most: records that are handed over at once, as far as batches are smaller.
        gathered: batches that may wait for it. The newest event waits behind all of them.
    """

    async def read(stream: Any, waiting: asyncio.Queue[Any]) -> None:
        async for event in stream.noack().events():
            await waiting.put(event)

    async def work(waiting: asyncio.Queue[Any]) -> None:
        while True:
            taken = [await waiting.get()]
            while sum(len(event.value.offsets) for event in taken) < most:
                if waiting.empty():
                    await asyncio.sleep(0)  # Faust gives one batch at each turn of the loop
                    if waiting.empty():
                        break
                taken.append(waiting.get_nowait())
            await river.admit()
            generation = river.generation
            # What was fetched before partitions were handed out anew is fetched again. Faust may
            # still hold some of it: taken now, it would make all before it look learned.
            events = [event for event in taken if event.value.generation == generation]
            if not events:
                continue
            await handle([event.value for event in events])
            for event in events:
                river.metrics.events.labels(event.value.topic).inc(len(event.value.offsets))
                river.acknowledge_later(event, event.value, generation)

    async def consume(stream: Any) -> None:
        waiting: asyncio.Queue[Any] = asyncio.Queue(gathered)
        parts = [asyncio.create_task(part) for part in (read(stream, waiting), work(waiting))]
        try:
            await asyncio.gather(*parts)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            fatal(error)
        finally:
            for part in parts:
                part.cancel()

    return consume
