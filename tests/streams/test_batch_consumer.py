"""How fetched records become batches; acks and gaps are proved on the real Kafka (integration)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from hypothesis import given
from hypothesis import strategies as st
from intervaltree import IntervalTree  # type: ignore[import-untyped] # Faust keeps gaps in one

from streams import batch_consumer, consumer_commits
from streams.fetch_records import Unpacked


def fetched(sizes: list[int]) -> batch_consumer.Batch:
    return batch_consumer.to_batch(records(sizes))


def records(sizes: list[int]) -> list[Any]:
    return [
        SimpleNamespace(
            topic="t", partition=0, offset=10 + 2 * i, key=b"k", value=b"x" * size, timestamp=i
        )
        for i, size in enumerate(sizes)
    ]


@given(st.lists(st.integers(0, 3_000_000), min_size=1, max_size=40), st.integers(1, 50))
def test_batches_keep_order_and_bounds(sizes: list[int], most: int) -> None:
    whole = fetched(sizes)
    parts = batch_consumer.cut(whole, most)
    assert [offset for part in parts for offset in part.offsets] == whole.offsets
    assert [value for part in parts for value in part.values] == whole.values
    for part in parts:
        size = sum(len(value or b"") for value in part.values)
        assert 0 < len(part.offsets) <= most
        assert len(part.offsets) == 1 or size <= batch_consumer.MAX_BATCH_BYTES


def test_many_small_records_are_cut_by_count() -> None:
    parts = batch_consumer.cut(fetched([1] * (batch_consumer.MAX_BATCH + 1)))
    assert [len(part.offsets) for part in parts] == [batch_consumer.MAX_BATCH, 1]


def test_a_batch_is_columns_and_keeps_gaps_in_offsets() -> None:
    batch = fetched([1, 0])
    assert batch.offsets == [10, 12] and batch.values == [b"x", b""]
    assert (batch.topic, batch.partition, batch.timestamps_ms) == ("t", 0, [0, 1])


def test_partitions_take_turns() -> None:
    assert list(batch_consumer.in_turn([["a1", "a2", "a3"], [], ["c1"]])) == [
        "a1",
        "c1",
        "a2",
        "a3",
    ]


def test_a_topic_may_have_smaller_batches() -> None:
    assert [len(p.offsets) for p in batch_consumer.cut(fetched([1] * 5), most=2)] == [2, 2, 1]


@pytest.mark.parametrize(
    ("ranges", "committed", "expected"),
    [
        ([(0, 4)], None, 4),
        ([(0, 4), (5, 9)], None, 9),
        ([(0, 4), (6, 9)], None, 4),  # 5 is still at work
        ([(0, 4), (5, 5), (6, 9)], None, 9),  # or was a gap
        ([(3, 9)], 3, 9),
        ([(5, 9)], 3, None),  # 3 and 4 are at work
        ([(0, 9), (2, 3), (10, 12)], None, 12),  # a gap inside a batch
    ],
)
def test_only_what_is_acknowledged_without_a_hole_is_committed(
    ranges: list[tuple[int, int]], committed: int | None, expected: int | None
) -> None:
    assert consumer_commits.committable(ranges, committed) == expected


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), min_size=1), st.randoms())
def test_acknowledged_in_any_order_never_commits_past_a_hole(
    shapes: list[tuple[int, int]], random: Any
) -> None:
    """Against Faust's own, offset by offset: gaps between batches, batches acknowledged anyhow."""
    ours, faust = (consumer(kind) for kind in (batch_consumer.BatchConsumer, driver.Consumer))
    batches, at = [], 0
    for gap, size in shapes:
        if gap and at:
            for one in (ours, faust):
                one._gap[TP].addi(at, at + gap)
        at += gap if at else 0
        batches.append((at, at + size - 1))
        at += size
    random.shuffle(batches)
    for first, last in batches:
        ours._acked[TP].append(last)
        ours._acked_first[TP][last] = first
        faust._acked[TP].extend(range(first, last + 1))
        offsets = [one._new_offset(TP) for one in (ours, faust)]
        assert offsets[0] == offsets[1]
        for one in (ours, faust):
            if offsets[0] is not None:
                one._committed_offset[TP] = offsets[0]


TP = ("t", 0)


def consumer(kind: Any) -> Any:
    """Its books alone, without a broker."""
    one = object.__new__(kind)
    one._acked, one._acked_index = defaultdict(list), defaultdict(set)
    one._acked_first = defaultdict(dict)
    one._gap, one._committed_offset = defaultdict(IntervalTree), defaultdict(lambda: None)
    return one


PLACE = TopicPartition("t", 0)


async def assigned() -> Any:
    return Assignment([PLACE])


def fetched_result(damage: bool) -> tuple[Any, Any]:
    """What aiokafka's fetcher holds after a fetch of three records from offset 5, and its place."""
    assignment = asyncio.run(assigned())
    assignment.state_value(PLACE).seek(5)
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=10_000,
    )  # fmt: skip
    for at in range(3):
        builder.append(at, 1_000 + at, b"key", b"value-%d" % at, [])
    content = builder.build()
    content[:8] = (5).to_bytes(8, "big")  # base offset, outside the checksum
    content[-2] ^= damage
    records = PartitionRecords(PLACE, MemoryRecords(bytes(content)), [], 5, None, None, True, 0)
    result = FetchResult(PLACE, assignment=assignment, partition_records=records, backoff=0)
    return result, assignment.state_value(PLACE)


def test_records_stay_as_they_were_unpacked() -> None:
    results = Unpacked()
    results[PLACE], state = fetched_result(damage=False)
    batch = batch_consumer.in_columns("t", 0, results[PLACE].getall(None))
    assert batch.offsets == [5, 6, 7] and batch.timestamps_ms == [1_000, 1_001, 1_002]
    assert batch.values == [b"value-0", b"value-1", b"value-2"] and batch.keys == [b"key"] * 3
    assert state.position == 8 and not results[PLACE].has_more()


def test_of_a_damaged_fetch_nothing_is_taken_and_it_is_fetched_again() -> None:
    results = Unpacked()
    results[PLACE], state = fetched_result(damage=True)
    with pytest.raises(CorruptRecordException):
        results[PLACE].getall(None)
    assert state.position == 5 and not results[PLACE].has_more()
    assert results[PLACE].getall(None) == []


def test_nothing_is_taken_after_a_seek() -> None:
    results = Unpacked()
    results[PLACE], state = fetched_result(damage=False)
    state.seek(2)
    assert results[PLACE].getall(None) == [] and state.position == 2


class Seeking(batch_consumer.BatchConsumer):
    """Without Faust's machinery: one record is fetched each time, at what `position` says."""

    should_stop = False
    position = 7
    committed: int | None = 3

    def __init__(self) -> None:
        self._seeking = self._seeks = 0
        self._sought, self.flow_active = 0, True
        self._buffered_partitions: set[Any] = set()
        monitor = SimpleNamespace(track_tp_end_offset=lambda *_: None)
        self.app = SimpleNamespace(consumer_generation_id=1, monitor=monitor)
        self.assignments = 0
        self.meanwhile: list[Any] = []
        self.ours: Any = lambda: self.assignments
        self._read_offset: Any = {}
        self._committed_offset: Any = {}

    async def seek_to_committed(self) -> Any:
        if self.committed is not None:
            self.position = self.committed
        return {HERE: self.committed}

    def assignment(self) -> Any:
        return {HERE}

    async def _to_beginning(self, tps: Any) -> None:
        self.position = 0

    async def _wait_next_records(self, timeout: float) -> Any:
        record = SimpleNamespace(offset=self.position, key=None, value=b"", timestamp=0)
        for one in self.meanwhile:
            await one()
        return {HERE: [record]}, None

    def highwater(self, tp: Any) -> int:
        return 0

    async def taken(self) -> list[int]:
        return [message.offset async for _, message in self.getmany(1.0)]


HERE = TopicPartition("clicks.v1", 0)


def test_what_is_fetched_while_positions_are_being_set_is_fetched_again() -> None:
    async def scenario() -> None:
        consumer = Seeking()
        assert await consumer.taken() == [7]
        consumer.assignments = 1  # handed out anew, and the flow resumed for the time before
        assert await consumer.taken() == [] and consumer.position == 3
        assert await consumer.taken() == [3]
        consumer.meanwhile, consumer.position = [consumer.perform_seek], 7
        assert await consumer.taken() == [], "somebody else was setting them"
        consumer.meanwhile, consumer.committed = [], None
        consumer.assignments = 2
        assert await consumer.taken() == [] and await consumer.taken() == [0]

    asyncio.run(scenario())
