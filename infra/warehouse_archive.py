"""The archive's buffer: rows wait here until ClickHouse has them, each exactly once.

First belt: before the first rows of a partition that is ours anew are sent, the writer reads which
of its offsets are there, and skips them. Second belt: a block that must be sent again after a lost
answer is the same block with the same token, which ClickHouse counts once. And nothing is sent but
by an owner who is certain to be one: two who both believe it would look up the same offsets, and
write the same rows. What he had under way when he was stopped ends at `warehouse_fence`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from infra.warehouse_blocks import (
    Block,
    Columns,
    Rows,
    Stream,
    add,
    blocks_of,
    chosen,
    length,
    stream_of,
)
from infra.warehouse_client import UncertainError, Warehouse
from infra.warehouse_fence import fence, insert_id
from infra.warehouse_offsets import WINDOW, ArchivedOffsets
from infra.warehouse_tables import TABLES

MAX_ROWS = 1_000_000

Row = Mapping[str, Any]


class ArchiveWriter:
    """Thread-safe and bounded. The worker's loop appends, a thread flushes.

    Args:
        warehouse: where to write, or its URL; nothing connects before it must.
        max_rows: what may wait. A last line: whoever appends should stop long before.

    Attributes:
        certain: whether the Kafka partitions that rows came from are still ours, for sure.
        answered_at: when ClickHouse last answered, of `time.monotonic`.
    """

    def __init__(self, warehouse: Warehouse | str, max_rows: int = MAX_ROWS) -> None:
        self._warehouse = Warehouse(warehouse) if isinstance(warehouse, str) else warehouse
        self._max_rows = max_rows
        self.certain: Callable[[], bool] = lambda: True
        # Guards what follows; the loop waits for it, so that it is never held for long.
        self._lock = threading.Lock()
        self._flushing = threading.Lock()  # held for a whole flush
        self._sending = threading.Lock()  # held while Kafka's rows are under way
        self._changes = 0  # of owners: what was being looked up for a former one does not count
        self._given = True
        self._doubtful = False
        self.answered_at = 0.0
        self._waiting: dict[Stream, Rows] = {}
        self._sealing: dict[Stream, Rows] = {}
        self._archived: dict[Stream, ArchivedOffsets] = {}
        self._blocks: list[Block] = []
        self._pending = 0

    @property
    def pending_rows(self) -> int:
        """Rows that are not known to be in ClickHouse."""
        return self._pending

    def append(self, table: str, topic: str, partition: int, row: Row) -> None:
        """Take one row: column → value; else as `append_columns`."""
        self.append_columns(table, topic, partition, {name: [row[name]] for name in row})

    def append_columns(self, table: str, topic: str, partition: int, columns: Columns) -> None:
        """Take rows. In a table with Kafka columns they need their `offset`.

        A row whose offset is known to be archived is left out.

        Args:
            columns: the same ones at every call for a table.

        Raises:
            MemoryError: `max_rows` rows wait.
        """
        stream = stream_of(table, topic, partition)
        with self._lock:
            archived = self._archived.get(stream)
            if archived is not None and TABLES[table].kafka:
                columns = _without(archived, columns)
            rows = length(columns)
            if not rows:
                return
            if self._pending >= self._max_rows:
                raise MemoryError(f"{self._pending} rows wait for ClickHouse")
            add(self._waiting.setdefault(stream, {}), columns)
            self._pending += rows

    def assigned(self) -> None:
        """Partitions are ours (again): what is archived of them is found out at the next flush."""
        with self._lock:
            self._given = True
            self._changes += 1
            self._archived.clear()

    def drop(self) -> None:
        """Forget all rows of Kafka records: their partitions are not ours, and they come again.

        Rows that come from now on wait for `assigned`. Of the dropped ones only those of an insert
        that is under way may still come to ClickHouse: see `settled`.
        """
        with self._lock:
            self._given = False
            self._changes += 1
            self._archived.clear()
            dropped = sum(block.rows for block in self._blocks if _of_kafka(block))
            self._blocks = [block for block in self._blocks if not _of_kafka(block)]
            for held in (self._waiting, self._sealing):
                dropped += sum(length(rows) for of, rows in held.items() if _of_kafka(of))
            self._waiting, self._sealing = (
                {of: rows for of, rows in held.items() if not _of_kafka(of)}
                for held in (self._waiting, self._sealing)
            )
            self._pending -= dropped

    def settled(self) -> None:
        """Return once no insert of what was dropped is under way: the next owner looks for it."""
        with self._sending:
            self._doubtful = False

    @property
    def in_doubt(self) -> bool:
        """Whether ClickHouse may get Kafka's rows yet, or has them, and has not answered."""
        return self._doubtful

    def flush(self) -> int:
        """Write all rows that were appended before the call; one flush at a time.

        Returns:
            The number of rows that ClickHouse took.

        Raises:
            TransientError: ClickHouse is away or overloaded; the rows wait for the next flush.
            UncertainError: they wait until it is certain that they are ours, or for `drop`.
            WarehouseError: it refuses a block, which can only be our own mistake.
        """
        with self._flushing:
            sent = 0
            while True:
                while unknown := self._unknown():
                    self._look_up(unknown)
                self._seal()
                sent += self._send()
                if not self._unknown():  # none was given to us anew meanwhile
                    return sent

    def waiting(self, table: str) -> list[Columns]:
        """Rows of a table that may not be in ClickHouse yet; not to be changed."""
        with self._lock:
            sealed: list[Mapping[Stream, Columns]] = [block.parts for block in self._blocks]
            sealed.append(self._sealing)
            held = [part for parts in sealed for of, part in parts.items() if of.table == table]
            held += [_copied(rows) for of, rows in self._waiting.items() if of.table == table]
        return held

    def close(self) -> None:
        """Close the connections. Rows that still wait are lost to this process."""
        self._warehouse.close()

    def _unknown(self) -> list[Stream]:
        """Streams with rows that wait, of which nobody knows what is archived."""
        with self._lock:
            return [of for of in self._waiting if _of_kafka(of) and of not in self._archived]

    def _look_up(self, streams: Sequence[Stream]) -> None:
        """Read what is archived of them, and what no former owner adds to any more."""
        if not self._given or not self.certain():  # the fence would hurt who is
            raise UncertainError("partitions are being handed out anew")
        changes = self._changes
        fence(self._warehouse, streams)
        for stream in streams:
            self._look_up_one(stream, changes)

    def _look_up_one(self, stream: Stream, changes: int) -> None:
        """Drop what waits twice or is archived already."""
        archived = ArchivedOffsets(self._warehouse.offsets(*stream, WINDOW))
        with self._lock:
            self.answered_at = time.monotonic()
            if changes != self._changes:  # another owner may have written since
                return
            waiting = self._waiting.pop(stream, {})
            kept = _first_of_each(_without(archived, waiting)) if waiting else {}
            if length(kept):
                archived.add(kept["offset"])
                self._waiting[stream] = kept
            self._pending -= length(waiting) - length(kept)
            self._archived[stream] = archived

    def _seal(self) -> None:
        """Rows of a stream that came since the look-ups wait on."""
        with self._lock:
            known = [of for of in self._waiting if not _of_kafka(of) or of in self._archived]
            self._sealing = sealing = {of: self._waiting.pop(of) for of in known}
        blocks = list(blocks_of(sealing))  # the loop may append or drop meanwhile
        with self._lock:
            dropped = sealing is not self._sealing
            self._blocks += [one for one in blocks if not (dropped and _of_kafka(one))]
            self._sealing = {}

    def _send(self) -> int:
        sent = 0
        while self._blocks:
            self._warehouse.reach()  # so that a server that stands still has got nothing
            sent += self._send_first()
        return sent

    def _send_first(self) -> int:
        with self._lock:
            first = self._blocks[0] if self._blocks else None
        if first is None:
            return 0
        if not _of_kafka(first):
            return self._insert(first)
        with self._sending:
            if not self.certain():
                raise UncertainError("Kafka has not confirmed lately that the partitions are ours")
            with self._lock:
                if all(block is not first for block in self._blocks):
                    return 0  # dropped meanwhile
                before, self._doubtful = self._doubtful, True
            try:
                sent = self._insert(first)
            except UncertainError:  # nothing was sent this time
                self._doubtful = before
                raise
            self._doubtful = False
            return sent

    def _insert(self, block: Block) -> int:
        kafka = _of_kafka(block)
        sent = self._warehouse.insert(
            block.table,
            block.columns(),
            block.token,
            query_id=insert_id(self._warehouse.database, block.parts) if kafka else None,
            may_send=self.certain if kafka else lambda: True,
        )
        with self._lock:
            self.answered_at = time.monotonic()
            if any(one is block for one in self._blocks):
                self._blocks = [one for one in self._blocks if one is not block]
                self._pending -= block.rows
        return sent


def _of_kafka(what: Stream | Block) -> bool:
    return TABLES[what.table].kafka


def _copied(rows: Rows) -> Rows:
    return {name: list(values) for name, values in rows.items()}


def _without(archived: ArchivedOffsets, columns: Columns) -> Columns:
    """The rows that are not archived."""
    offsets = columns["offset"]
    if not len(offsets) or archived.ends_before(min(offsets)):
        return columns
    return chosen(columns, [offset not in archived for offset in offsets])


def _first_of_each(columns: Columns) -> Rows:
    """Without the repeats of an offset."""
    offsets = columns["offset"]
    met: dict[int, int] = {}
    return chosen(columns, [met.setdefault(o, row) == row for row, o in enumerate(offsets)])
