"""How fetched records become batches; acks and gaps are proved on the real Kafka (integration)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streams import batch_consumer


def records(sizes: list[int]) -> list[Any]:
    return [
        SimpleNamespace(
            topic="t", partition=0, offset=10 + 2 * i, key=b"k", value=b"x" * size, timestamp=i
        )
        for i, size in enumerate(sizes)
    ]


@given(st.lists(st.integers(0, 3_000_000), min_size=1, max_size=40))
def test_batches_keep_order_and_bounds(sizes: list[int]) -> None:
    fetched = records(sizes)
    parts = batch_consumer.cut(fetched)
    assert [record for part in parts for record in part] == fetched
    for part in parts:
        size = sum(len(record.value) for record in part)
        assert part and (len(part) == 1 or size <= batch_consumer.MAX_BATCH_BYTES)


def test_many_small_records_are_cut_by_count() -> None:
    parts = batch_consumer.cut(records([1] * (batch_consumer.MAX_BATCH + 1)))
    assert [len(part) for part in parts] == [batch_consumer.MAX_BATCH, 1]


def test_a_batch_is_columns_and_keeps_gaps_in_offsets() -> None:
    batch = batch_consumer.to_batch(records([1, 0]))
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
    assert [len(part) for part in batch_consumer.cut(records([1] * 5), most=2)] == [2, 2, 1]
