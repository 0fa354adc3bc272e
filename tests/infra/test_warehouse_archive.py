"""The archive's buffer on the real engine: columns in, each record of Kafka once."""

from __future__ import annotations

import time
from typing import Any

import pytest

from infra.warehouse import ArchiveWriter, UncertainError, Warehouse

NOW_MS = int(time.time() * 1000)  # old rows would be gone at once: the tables have a TTL
MONTH_MS = 31 * 86_400_000


def rows(first: int, last: int, received_ms: int = NOW_MS) -> dict[str, Any]:
    offsets = list(range(first, last))
    return {
        "id": [f"e{offset}" for offset in offsets],
        "received_at": [received_ms] * len(offsets),
        "offset": offsets,
    }


def test_a_successor_that_gets_it_all_again_writes_nothing_twice(url: str) -> None:
    writer, successor = ArchiveWriter(url), ArchiveWriter(url)
    writer.append_columns("interactions", "clicks.v1", 0, rows(0, 100))
    assert writer.flush() == 100 and writer.pending_rows == 0
    successor.append_columns("interactions", "clicks.v1", 0, rows(0, 100))
    assert successor.flush() == 0 and successor.pending_rows == 0  # every row was there
    successor.append_columns("interactions", "clicks.v1", 0, rows(50, 120))
    assert successor.flush() == 20
    found = Warehouse(url).query("SELECT count() AS n, uniqExact(offset) AS o FROM interactions")
    assert found == [{"n": 120, "o": 120}]


def test_rows_of_two_months_come_in_two_blocks(url: str) -> None:
    writer = ArchiveWriter(url)
    writer.append_columns("interactions", "clicks.v1", 0, rows(0, 3))
    writer.append_columns("interactions", "clicks.v1", 0, rows(3, 5, NOW_MS - MONTH_MS))
    writer.append("list_writes", "", 1, {"tenant": "default", "received_at": NOW_MS, "seq": 7})
    assert writer.flush() == 6 and writer.pending_rows == 0


def test_who_is_not_certain_to_own_rows_sends_none_of_them(url: str) -> None:
    former, owner = ArchiveWriter(url), ArchiveWriter(url)
    for writer in (former, owner):  # both looked up the same offsets, and hold the same rows
        writer.assigned("interactions", "clicks.v1", 3)
        writer.append_columns("interactions", "clicks.v1", 3, rows(0, 50))
    owner.append_columns("interactions", "clicks.v1", 3, rows(50, 60))
    former.certain = lambda: False
    former.append("list_writes", "", 1, {"tenant": "default", "received_at": NOW_MS, "seq": 7})
    with pytest.raises(UncertainError, match="not confirmed"):
        former.flush()
    assert owner.flush() == 60
    former.drop()
    former.certain = lambda: True
    assert former.pending_rows == 1  # no record of Kafka brings it again
    assert former.flush() == 1
    found = Warehouse(url).query(
        "SELECT count() AS n, uniqExact(offset) AS o FROM interactions WHERE partition = 3"
    )
    assert found == [{"n": 60, "o": 60}]
