"""The archive's buffer on the real engine: columns in, each record of Kafka once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra.warehouse import ArchiveWriter, TransientError, UncertainError, Warehouse

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


def test_what_a_lost_answer_left_in_doubt_is_found_by_the_next_owner(url: str) -> None:
    warehouse, writer = left_in_doubt(url)
    assert writer.in_doubt
    writer.drop()
    writer.settled()
    assert not writer.in_doubt and writer.pending_rows == 0
    for partition in (0, 1):  # they come again, and more
        writer.append_columns("interactions", "clicks.v1", partition, rows(0, 40))
    with pytest.raises(UncertainError, match="handed out"):
        writer.flush()
    writer.assigned()
    writer.append_columns("interactions", "clicks.v1", 1, rows(40, 50))
    assert writer.flush() == 10 and writer.pending_rows == 0
    found = warehouse.query(
        "SELECT partition, count() AS n, uniqExact(offset) AS o FROM interactions"
        " GROUP BY partition ORDER BY partition"
    )
    assert [tuple(row.values()) for row in found] == [(0, 40, 40), (1, 50, 50)]


def test_a_block_whose_answer_was_lost_is_sent_again_as_it_was(url: str) -> None:
    warehouse, writer = left_in_doubt(url)
    writer.append_columns("interactions", "purchases.v1", 1, rows(0, 5))
    assert writer.flush() == 85 and not writer.in_doubt
    assert warehouse.query("SELECT count() AS n FROM interactions") == [{"n": 85}]


class _Lossy(Warehouse):
    """The real engine behind a line that loses the first answer to an insert."""

    inserts = 0

    def insert(self, *args: Any, **options: Any) -> int:
        taken = super().insert(*args, **options)
        self.inserts += 1
        if self.inserts == 1:
            raise TransientError("the answer was lost")
        return taken


def left_in_doubt(url: str) -> tuple[Warehouse, ArchiveWriter]:
    """ClickHouse has a block of two partitions, 40 rows each, and its answer was lost."""
    warehouse = _Lossy(url)
    writer = ArchiveWriter(warehouse)
    for partition in (0, 1):
        writer.append_columns("interactions", "clicks.v1", partition, rows(0, 40))
    with pytest.raises(TransientError):
        writer.flush()
    assert warehouse.inserts == 1
    return warehouse, writer


def test_who_is_not_certain_to_own_rows_sends_none_of_them(url: str) -> None:
    former, owner = ArchiveWriter(url), ArchiveWriter(url)
    for writer in (former, owner):  # both looked up the same offsets, and hold the same rows
        writer.append_columns("interactions", "clicks.v1", 3, rows(0, 10))
        writer.flush()
        writer.append_columns("interactions", "clicks.v1", 3, rows(10, 50))
    owner.append_columns("interactions", "clicks.v1", 3, rows(50, 60))
    former.certain = lambda: False
    former.append("list_writes", "", 1, {"tenant": "default", "received_at": NOW_MS, "seq": 7})
    with pytest.raises(UncertainError, match="not confirmed"):
        former.flush()
    assert owner.flush() == 50
    former.drop()
    former.certain = lambda: True
    assert former.pending_rows == 1  # no record of Kafka brings it again
    assert former.flush() == 1
    found = Warehouse(url).query(
        "SELECT count() AS n, uniqExact(offset) AS o FROM interactions WHERE partition = 3"
    )
    assert found == [{"n": 60, "o": 60}]


class _Stopped:
    """An owner whose process is stopped within an insert: it asks once more whether it is one.

    `still`: what it is told then.
    """

    def __init__(self, url: str, still: bool) -> None:
        self.writer = ArchiveWriter(url)
        self.stopped, self.go_on = threading.Event(), threading.Event()
        self._still, self._asked = still, 0
        self.writer.append_columns("interactions", "clicks.v1", 5, rows(0, 40))
        self.writer.append_columns("interactions", "clicks.v1", 6, rows(0, 30))
        self.writer.certain = self._certain

    def _certain(self) -> bool:
        self._asked += 1
        if self._asked <= 2:  # before it looks what is there, and before it begins
            return True
        self.stopped.set()
        assert self.go_on.wait(20)
        return self._still


@pytest.mark.parametrize(
    ("still", "error", "doubt"),
    [(False, UncertainError, False), (True, TransientError, True)],
    ids=["it notices", "it was stopped just after it had looked"],
)
def test_what_a_former_owner_had_under_way_when_he_was_stopped_never_comes(
    url: str, still: bool, error: type[Exception], doubt: bool
) -> None:
    former, owner = _Stopped(url, still), ArchiveWriter(url)
    with ThreadPoolExecutor(1) as pool:
        flush = pool.submit(former.writer.flush)
        assert former.stopped.wait(20)
        owner.append_columns("interactions", "clicks.v1", 5, rows(0, 45))
        owner.append_columns("interactions", "clicks.v1", 7, rows(0, 10))
        assert owner.flush() == 55
        former.go_on.set()
        with pytest.raises(error) as told:
            flush.result()
    assert (type(told.value) is UncertainError) != still
    assert former.writer.in_doubt == doubt
    counted = "SELECT count() AS n, uniqExact(partition, offset) AS o FROM interactions"
    assert Warehouse(url).query(counted) == [{"n": 55, "o": 55}]
    former.writer.certain = lambda: True
    former.writer.drop()
    former.writer.append_columns("interactions", "clicks.v1", 6, rows(0, 30))
    former.writer.assigned()
    assert former.writer.flush() == 30  # its connection is of use again


def test_only_inserts_of_the_same_streams_are_ended(url: str) -> None:
    other, owner = _Stopped(url, still=True), ArchiveWriter(url)
    with ThreadPoolExecutor(1) as pool:
        flush = pool.submit(other.writer.flush)
        assert other.stopped.wait(20)
        owner.append_columns("interactions", "clicks.v1", 55, rows(0, 10))
        owner.append_columns("interactions", "purchases.v1", 5, rows(0, 10))
        assert owner.flush() == 20
        other.go_on.set()
        assert flush.result() == 70


class _Slow(Warehouse):
    """The real engine behind a line that holds up look-ups and inserts until it is let on."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked, self.go_on = threading.Event(), threading.Event()

    def offsets(self, table: str, topic: str, partition: int, newest: int) -> list[int]:
        found = super().offsets(table, topic, partition, newest)
        self.asked.set()
        assert self.go_on.wait(20)
        return found


def test_what_is_dropped_during_a_look_up_is_not_written_and_looked_up_again(url: str) -> None:
    slow, owner = _Slow(url), ArchiveWriter(url)
    former = ArchiveWriter(slow)
    former.append_columns("interactions", "clicks.v1", 0, rows(0, 40))
    with ThreadPoolExecutor(1) as pool:
        flush = pool.submit(former.flush)
        assert slow.asked.wait(20)
        former.drop()  # does not wait for ClickHouse
        former.settled()
        assert former.pending_rows == 0
        owner.append_columns("interactions", "clicks.v1", 0, rows(0, 40))
        assert owner.flush() == 40
        owner.drop()
        former.append_columns("interactions", "clicks.v1", 0, rows(0, 60))
        former.assigned()  # it is theirs again, and what was looked up before does not count
        slow.go_on.set()
        assert flush.result() == 20
    assert former.pending_rows == 0
