"""One Faust event per fetched partition batch, with Faust's own acks, rebalance and commit kept.

Faust spends some 80 µs of asyncio on every event. This consumer hands an agent whole batches
instead: `Message.value` is a `Batch`, `Message.offset` the batch's last offset, and acknowledging
that one message acknowledges every offset of the batch. Agents must read `stream.noack().events()`
and ack the event themselves: Faust's C stream iterator inlines the ordinary ack, and only the
explicit path calls the `ack` below.

Known limits it works around, each seen in faust-streaming 0.15: the driver waits up to 1.5 s for a
fetch (10 ms here), and without tables it assigns partitions round robin, which tears the topics of
one user partition apart (range assignment here keeps them together).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeVar

import faust.transport.drivers.aiokafka as driver
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from faust.serializers import codecs
from msgspec import Struct

MAX_BATCH = 500
MAX_BATCH_BYTES = 8_000_000
# A poll takes all that has been fetched, of every partition; the size of a fetch keeps it small, so
# that no partition has to wait long while another one's backlog is worked off.
MAX_FETCH_BYTES = 131_072
MAX_POLL_RECORDS = 100_000
FETCH_WAIT_MS = 10

T = TypeVar("T")


class Batch(Struct, frozen=True):
    """Consecutive records of one partition, in order; offsets may have gaps (compaction)."""

    topic: str
    partition: int
    offsets: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]
    timestamps_ms: list[int]

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
        )


def cut(records: list[Any], most: int = MAX_BATCH) -> list[list[Any]]:
    """Split fetched records into batches bounded in count and in bytes."""
    batches: list[list[Any]] = []
    size = 0
    for record in records:
        length = len(record.value or b"")
        if not batches or len(batches[-1]) >= most or size + length > MAX_BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(record)
        size += length
    return batches


def in_turn(queues: Sequence[Sequence[T]]) -> Iterator[T]:
    """One of each queue, again and again, until all are empty."""
    for row in zip_longest(*queues):
        yield from (one for one in row if one is not None)


def to_batch(records: list[Any]) -> Batch:
    """Columns of the records, which are not empty and come from one partition."""
    return Batch(
        records[0].topic,
        records[0].partition,
        [record.offset for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [record.timestamp for record in records],
    )


class _Thread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        self._assignor = RangePartitionAssignor
        # The group's coordinator is made at start from these, so nothing has read them yet.
        consumer._partition_assignment_strategy = [RangePartitionAssignor]
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer


class BatchConsumer(driver.Consumer):
    """Faust's aiokafka consumer, yielding one message per partition batch, partitions in turn.

    Attributes:
        most_at_once: topic → records of a batch, where it is not MAX_BATCH.
    """

    most_at_once: Mapping[str, int] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._batch_first: dict[Any, int] = {}

    def _new_consumer_thread(self) -> Any:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[Any, Any]]:
        """Yield (topic partition, message), a message holding a `Batch`."""
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            # What was fetched while the flow stood still is fetched again from the commit.
            await self._seek_back()
            return
        batches = []
        for tp, fetched in records.items():
            if active is not None and tp not in active and tp not in self._buffered_partitions:
                continue
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            parts = cut(fetched, self.most_at_once.get(tp.topic, MAX_BATCH))
            batches.append([(tp, part) for part in parts])
        for tp, part in in_turn(batches):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            yield tp, self._batch_message(tp, part)

    def _batch_message(self, tp: Any, part: list[Any]) -> Any:
        message = self._to_message(tp, part[-1])
        message.value = to_batch(part)
        message.key = None
        message.headers = []
        message.batch_first = self._batch_first[tp] = part[0].offset
        return message

    async def _seek_back(self) -> None:
        try:
            await self.perform_seek()
        except Exception as error:  # a rebalance is under way; the next assignment seeks again
            self.log.warning("no seek while the flow stands still: %s", error)

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        # Faust passes the message's own offset, here the batch's last: the gap ends before its
        # first, else the whole batch would count as acknowledged before it was processed.
        first = self._batch_first.get(tp, offset_to)
        await super()._add_gap(tp, offset_from, first - 1)

    def ack(self, message: Any) -> bool:
        """Acknowledge every offset of the batch."""
        done: bool = super().ack(message)
        first = getattr(message, "batch_first", message.offset)
        if done and first < message.offset:
            before = range(first, message.offset)
            self._acked[message.tp].extend(before)
            self._acked_index[message.tp].update(before)
        return done


class _Raw(codecs.Codec):
    """Bytes and batches pass as they are; decoding is the agents' own, with reasons."""

    def _loads(self, s: Any) -> Any:
        return s

    def _dumps(self, s: Any) -> Any:
        return s


RAW = "springtide-raw"


def install(app: Any, most_at_once: Mapping[str, int]) -> None:
    """Make `app` consume in batches; call before it starts."""
    codecs.register(RAW, _Raw())
    consumer = type("Consumer", (BatchConsumer,), {"most_at_once": dict(most_at_once)})
    app.transport.Consumer = consumer
