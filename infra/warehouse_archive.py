"""The archive's buffer: rows wait here until ClickHouse has them, each exactly once.

First belt: on assignment the writer reads which offsets of the partition are there, and skips
them. Second belt: a block that must be sent again after a lost answer is the same block with the
same token, which ClickHouse counts once. And nothing is sent but by an owner who is certain to be
one: two who both believe it would look up the same offsets, and write the same rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
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
from infra.warehouse_client import TransientError, UncertainError, Warehouse
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
    """

    def __init__(self, warehouse: Warehouse | str, max_rows: int = MAX_ROWS) -> None:
        self._warehouse = Warehouse(warehouse) if isinstance(warehouse, str) else warehouse
        self._max_rows = max_rows
        self.certain: Callable[[], bool] = lambda: True
        # Guards what follows; the loop waits for it, so that it is never held for long.
        self._lock = threading.Lock()
        self._flushing = threading.Lock()  # held for a whole flush
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

        A row whose offset is archived or waits already is left out.

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

    def assigned(self, table: str, topic: str, partition: int) -> None:
        """The partition is ours (again): find out what is archived of it.

        Rows of an earlier ownership that still wait are kept, unless its owner in between has
        written them. Where ClickHouse is away this waits until the next flush.
        """
        stream = stream_of(table, topic, partition)
        with self._flushing:
            with self._lock:
                unknown = [stream, *self._unseal(stream)]
                for one in unknown:
                    self._archived.pop(one, None)
            try:
                for one in unknown:
                    self._look_up(one)
            except TransientError:
                return

    def drop(self) -> None:
        """Forget all rows of Kafka records: their partitions are not ours, and they come again."""
        with self._flushing, self._lock:
            for stream in [stream for stream in self._waiting if TABLES[stream.table].kafka]:
                self._pending -= length(self._waiting.pop(stream))
            for block in [block for block in self._blocks if TABLES[block.table].kafka]:
                self._blocks.remove(block)
                self._pending -= block.rows
            self._archived.clear()

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
            with self._lock:
                unknown = [
                    stream
                    for stream in self._waiting
                    if TABLES[stream.table].kafka and stream not in self._archived
                ]
            for stream in unknown:
                self._look_up(stream)
            self._seal()
            return self._send()

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

    def _look_up(self, stream: Stream) -> None:
        """Read what is archived; drop what waits twice or is archived already."""
        archived = ArchivedOffsets(self._warehouse.offsets(*stream, WINDOW))
        with self._lock:
            waiting = self._waiting.pop(stream, {})
            kept = _first_of_each(_without(archived, waiting)) if waiting else {}
            if length(kept):
                archived.add(kept["offset"])
                self._waiting[stream] = kept
            self._pending -= length(waiting) - length(kept)
            self._archived[stream] = archived

    def _unseal(self, stream: Stream) -> list[Stream]:
        """Let the stream's rows wait again, and those of all that shared a block with them.

        Returns:
            These others. ClickHouse may have the block, whose token no other one can have: what is
            archived of them must be looked up as well.
        """
        opened = [block for block in self._blocks if stream in block.parts]
        self._blocks = [block for block in self._blocks if stream not in block.parts]
        sealed: dict[Stream, Rows] = {}
        for block in opened:
            for one, columns in block.parts.items():
                add(sealed.setdefault(one, {}), columns)
        for one, rows in sealed.items():
            add(rows, self._waiting.get(one, {}))
        self._waiting |= sealed
        return [one for one in sealed if one != stream]

    def _seal(self) -> None:
        with self._lock:
            self._sealing, self._waiting = self._waiting, {}
        blocks = list(blocks_of(self._sealing))  # the loop may append meanwhile
        with self._lock:
            self._blocks += blocks
            self._sealing = {}

    def _send(self) -> int:
        sent = 0
        while self._blocks:
            block = self._blocks[0]
            if TABLES[block.table].kafka and not self.certain():
                raise UncertainError("Kafka has not confirmed lately that the partitions are ours")
            sent += self._warehouse.insert(block.table, block.columns(), block.token)
            with self._lock:
                self._blocks.pop(0)
                self._pending -= block.rows
        return sent


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
