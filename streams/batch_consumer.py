"""One Faust event per fetched partition batch, with Faust's own acks, rebalance and commit kept.

Faust spends some 80 µs of asyncio on every event. This consumer hands an agent whole batches
instead: `Message.value` is a `Batch`, `Message.offset` the batch's last offset, and acknowledging
that one message acknowledges every offset of the batch (`consumer_commits`). Agents must read
`stream.noack().events()` and ack the event themselves: Faust's C stream iterator inlines the
ordinary ack, and only the explicit path calls the consumer's `ack`.

Known limits it works around, each seen in faust-streaming 0.15: the driver waits up to 1.5 s for a
fetch (10 ms here), and without tables it assigns partitions round robin, which tears the topics of
one user partition apart (range assignment here keeps them together).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeVar

import faust.transport.drivers.aiokafka as driver
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from faust.serializers import codecs
from faust.types.tuples import ConsumerMessage
from msgspec import Struct

from streams import fetch_plan, group_coordinator
from streams.consumer_commits import CommitsBatches
from streams.consumer_loop import InLoop, drain
from streams.fetch_records import Unpacked

MAX_BATCH = 500
MAX_BATCH_BYTES = 8_000_000
# A poll takes all that has been fetched, of every partition; the size of a fetch keeps it small, so
# that no partition has to wait long while another one's backlog is worked off.
MAX_FETCH_BYTES = 131_072
MAX_POLL_RECORDS = 100_000

T = TypeVar("T")


class Batch(Struct, frozen=True):
    """Consecutive records of one partition, in order; offsets may have gaps (compaction).

    Attributes:
        end: the offset that the partition's next record gets, as of the fetch; 0: not known.
        generation: how often partitions had been handed out anew when it was fetched.
    """

    topic: str
    partition: int
    offsets: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]
    timestamps_ms: list[int]
    end: int = 0
    generation: int = 0

    def part(self, start: int, end: int) -> Batch:
        """Its records from `start` to before `end`."""
        if start == 0 and end >= len(self.offsets):
            return self
        cut = slice(start, end)
        return Batch(
            self.topic,
            self.partition,
            self.offsets[cut],
            self.keys[cut],
            self.values[cut],
            self.timestamps_ms[cut],
            self.end,
            self.generation,
        )


def to_batch(records: Sequence[Any]) -> Batch:
    """Columns of a consumer's records, which are not empty and come from one partition."""
    return in_columns(records[0].topic, records[0].partition, records)


def in_columns(
    topic: str, partition: int, records: Sequence[Any], end: int = 0, generation: int = 0
) -> Batch:
    """The same of records that do not say where they come from."""
    return Batch(
        topic,
        partition,
        [record.offset for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [record.timestamp for record in records],
        end,
        generation,
    )


def cut(batch: Batch, most: int = MAX_BATCH) -> list[Batch]:
    """Split what was fetched into batches bounded in count and in bytes."""
    sizes = [len(value or b"") for value in batch.values]
    if sum(sizes) <= MAX_BATCH_BYTES:
        return [batch.part(at, at + most) for at in range(0, len(sizes), most)]
    batches, start, held = [], 0, 0
    for at, size in enumerate(sizes):
        if at > start and (at - start >= most or held + size > MAX_BATCH_BYTES):
            batches.append(batch.part(start, at))
            start, held = at, 0
        held += size
    return [*batches, batch.part(start, len(sizes))]


def in_turn(queues: Sequence[Sequence[T]]) -> Iterator[T]:
    """One of each queue, again and again, until all are empty."""
    for row in zip_longest(*queues):
        yield from (one for one in row if one is not None)


class _InLoop(InLoop):
    async def on_start(self) -> None:
        await super().on_start()
        coordinator = self._ensure_consumer()._coordinator
        group_coordinator.mend(coordinator)
        self.add_future(group_coordinator.end_of(coordinator))

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        self._assignor = RangePartitionAssignor
        # The group's coordinator is made at start from these, so nothing has read them yet.
        consumer._partition_assignment_strategy = [RangePartitionAssignor]
        consumer._fetch_max_wait_ms = self.consumer.fetch_wait_ms
        return consumer

    async def _fetch_records(
        self, consumer: Any, active_partitions: Any, timeout: Any = None, max_records: Any = None
    ) -> Any:
        fetcher = consumer._fetcher
        if type(fetcher._records) is not Unpacked:
            # Nothing was read from it yet: results unpack their records when they are asked.
            fetcher._records = Unpacked(fetcher._records)
            fetch_plan.install(fetcher)
        return await super()._fetch_records(consumer, active_partitions, timeout, None)


class BatchConsumer(CommitsBatches):
    """Faust's aiokafka consumer, yielding one message per partition batch, partitions in turn.

    Attributes:
        most_at_once: topic → records of a batch, where it is not MAX_BATCH.
        ours: counts how often partitions were handed out anew. Kafka's generation does not tell: it
            stays what it is where a member joins again that the group never missed.
        fetch_wait_ms: how long the broker may hold a fetch that finds nothing.
    """

    most_at_once: Mapping[str, int] = {}
    fetch_wait_ms = 10
    ours: Callable[[], int] = staticmethod(lambda: 0)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seeking = self._seeks = 0
        self._sought = -1  # the assignment whose positions were last set

    def _new_consumer_thread(self) -> Any:
        return _InLoop(self, beacon=self.beacon)

    async def _drain_messages(self, fetcher: Any) -> None:
        await drain(self, fetcher)

    @property
    def settled(self) -> bool:
        """Whether the positions of this assignment are set."""
        return not self._seeking and self._sought == self.ours()

    async def perform_seek(self) -> None:
        """Go to the committed offsets: one partition after the other, and Faust's notes at last.

        Where nothing was committed aiokafka leaves a position as it is; we go to the beginning.
        """
        self._seeking += 1
        self._seeks += 1
        ours = self.ours()
        try:
            await super().perform_seek()
            if fresh := [tp for tp in self.assignment() if not self._read_offset.get(tp)]:
                await self._to_beginning(fresh)
            self._sought = ours
        finally:
            self._seeking -= 1

    async def _to_beginning(self, tps: Sequence[Any]) -> None:
        consumer = self._thread._ensure_consumer()
        await consumer.seek_to_beginning(*map(driver.ensure_aiokafka_TP, tps))

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[Any, Any]]:
        """Yield (topic partition, message), a message holding a `Batch`.

        Where two rebalances follow each other at once, Faust resumes the flow for the first in the
        middle of the second. What was fetched before the positions of this assignment were set, or
        while they were being set, is fetched again from the commit: some of it would be passed over
        for being older than what the former assignment had read.
        """
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        under_way, seeks = self._seeking, self._seeks
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        settled = not under_way and self._seeks == seeks and self.settled
        if not (self.flow_active and settled):
            await self._seek_back()
            return
        batches, ours = [], self.ours()
        for tp, fetched in records.items():
            if active is not None and tp not in active and tp not in self._buffered_partitions:
                continue
            end = self.highwater(tp) or 0
            self.app.monitor.track_tp_end_offset(tp, end)
            most = self.most_at_once.get(tp.topic, MAX_BATCH)
            parts = cut(in_columns(tp.topic, tp.partition, fetched, end, ours), most)
            batches.append([(tp, part) for part in parts])
        for tp, part in in_turn(batches):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            yield tp, self._batch_message(tp, part)

    def _batch_message(self, tp: Any, part: Batch) -> Any:
        message = ConsumerMessage(
            part.topic,
            part.partition,
            part.offsets[-1],
            part.timestamps_ms[-1] / 1000.0,
            0,
            [],
            None,
            part,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )
        message.batch_first = part.offsets[0]
        return message

    async def verify_all_partitions_active(self) -> None:
        """Nothing: Faust would miss a fetch of every partition in which nothing ever came.

        `fetch_wire` leaves those out of what aiokafka sees. Whether we keep up is `lag`'s to say.
        """

    async def _seek_back(self) -> None:
        try:
            await self.perform_seek()
        except Exception as error:  # a rebalance is under way; the next assignment seeks again
            self.log.warning("no seek while the flow stands still: %s", error)
            await asyncio.sleep(0.1)


class _Raw(codecs.Codec):
    """Bytes and batches pass as they are; decoding is the agents' own, with reasons."""

    def _loads(self, s: Any) -> Any:
        return s

    def _dumps(self, s: Any) -> Any:
        return s


RAW = "springtide-raw"


def install(app: Any, **settings: Any) -> None:
    """Make `app` consume in batches; call before it starts.

    Args:
        settings: attributes of its `BatchConsumer`.
    """
    codecs.register(RAW, _Raw())
    app.transport.Consumer = type("Consumer", (BatchConsumer,), settings)
