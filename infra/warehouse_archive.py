"""The archive's buffer: rows wait here until ClickHouse has them, each exactly once.

First belt: on assignment the writer reads which offsets of the partition are there, and skips
them. Second belt: a block that must be sent again after a lost answer is the same block with the
same token, which ClickHouse counts once.
"""

from __future__ import annotations

import threading
import time
from hashlib import blake2b
from typing import Any, NamedTuple

from msgspec import Struct

from infra.warehouse_client import TransientError, Warehouse
from infra.warehouse_offsets import WINDOW, ArchivedOffsets
from infra.warehouse_tables import TABLES, unix_ms

BLOCK_ROWS = 50_000
MAX_ROWS = 1_000_000

Row = dict[str, Any]


class Stream(NamedTuple):
    """Rows that go into one insert: a table, and the Kafka partition they came from."""

    table: str
    topic: str
    partition: int


class Block(Struct, frozen=True):
    """Rows of one stream and one month, as they are sent, and sent again."""

    stream: Stream
    rows: list[Row]
    token: str


class ArchiveWriter:
    """Thread-safe and bounded. The worker's loop appends, a thread flushes.

    Args:
        warehouse: where to write, or its URL; nothing connects before it must.
        max_rows: what may wait. A last line: whoever appends should stop long before.
    """

    def __init__(self, warehouse: Warehouse | str, max_rows: int = MAX_ROWS) -> None:
        self._warehouse = Warehouse(warehouse) if isinstance(warehouse, str) else warehouse
        self._max_rows = max_rows
        self._lock = threading.Lock()  # guards what follows, never held while ClickHouse works
        self._flushing = threading.Lock()  # held for a whole flush
        self._rows: dict[Stream, list[Row]] = {}
        self._archived: dict[Stream, ArchivedOffsets] = {}
        self._blocks: list[Block] = []
        self._pending = 0

    @property
    def pending_rows(self) -> int:
        """Rows that are not known to be in ClickHouse."""
        return self._pending

    def append(self, table: str, topic: str, partition: int, row: Row) -> None:
        """Take a row: column → value. In a table with Kafka columns it needs its `offset`.

        A row whose offset is archived or waits already is left out.

        Raises:
            MemoryError: `max_rows` rows wait.
        """
        stream = _stream(table, topic, partition)
        with self._lock:
            archived = self._archived.get(stream)
            if archived is not None and TABLES[table].kafka and row["offset"] in archived:
                return
            if self._pending >= self._max_rows:
                raise MemoryError(f"{self._pending} rows wait for ClickHouse")
            self._rows.setdefault(stream, []).append(row)
            self._pending += 1

    def assigned(self, table: str, topic: str, partition: int) -> None:
        """The partition is ours (again): find out what is archived of it.

        Rows of an earlier ownership that still wait are kept, unless its owner in between has
        written them. Where ClickHouse is away this waits until the next flush.
        """
        stream = _stream(table, topic, partition)
        with self._flushing:
            with self._lock:
                self._archived.pop(stream, None)
                self._unseal(stream)
            try:
                self._look_up(stream)
            except TransientError:
                return

    def flush(self) -> int:
        """Write all rows that were appended before the call; one flush at a time.

        Returns:
            The number of rows that ClickHouse took.

        Raises:
            TransientError: ClickHouse is away or overloaded; the rows wait for the next flush.
            WarehouseError: it refuses a block, which can only be our own mistake.
        """
        with self._flushing:
            with self._lock:
                unknown = [
                    stream
                    for stream in self._rows
                    if TABLES[stream.table].kafka and stream not in self._archived
                ]
            for stream in unknown:
                self._look_up(stream)
            with self._lock:
                self._seal()
            return self._send()

    def close(self) -> None:
        """Close the connections. Rows that still wait are lost to this process."""
        self._warehouse.close()

    def _look_up(self, stream: Stream) -> None:
        """Read what is archived; drop what waits twice or is archived already."""
        archived = ArchivedOffsets(self._warehouse.offsets(*stream, WINDOW))
        with self._lock:
            waiting = self._rows.pop(stream, [])
            kept: dict[int, Row] = {}
            for row in waiting:
                if row["offset"] not in archived:
                    kept.setdefault(row["offset"], row)
            archived.add(kept)
            if kept:
                self._rows[stream] = list(kept.values())
            self._pending -= len(waiting) - len(kept)
            self._archived[stream] = archived

    def _unseal(self, stream: Stream) -> None:
        sealed = [row for block in self._blocks if block.stream == stream for row in block.rows]
        self._blocks = [block for block in self._blocks if block.stream != stream]
        if sealed:
            self._rows[stream] = sealed + self._rows.get(stream, [])

    def _seal(self) -> None:
        for stream, rows in self._rows.items():
            by_month: dict[tuple[int, int], list[Row]] = {}
            for row in rows:
                # A block in two months would be two parts, of which a crash may leave one.
                by_month.setdefault(_month(row["received_at"]), []).append(row)
            for group in by_month.values():
                for start in range(0, len(group), BLOCK_ROWS):
                    self._blocks.append(_block(stream, group[start : start + BLOCK_ROWS]))
        self._rows = {}

    def _send(self) -> int:
        sent = 0
        while self._blocks:
            block = self._blocks[0]
            names = block.rows[0].keys()
            columns = {name: [row[name] for row in block.rows] for name in names}
            sent += self._warehouse.insert(*block.stream, columns, block.token)
            with self._lock:
                self._blocks.pop(0)
                self._pending -= len(block.rows)
        return sent


def _stream(table: str, topic: str, partition: int) -> Stream:
    """Rows that no Kafka record names go together, whatever partition they came from."""
    return Stream(table, topic, partition) if TABLES[table].kafka else Stream(table, "", 0)


def _month(received_at: Any) -> tuple[int, int]:
    moment = time.gmtime(unix_ms(received_at) / 1000)
    return moment.tm_year, moment.tm_mon


def _block(stream: Stream, rows: list[Row]) -> Block:
    names = ("offset",) if TABLES[stream.table].kafka else tuple(rows[0])
    content = repr([[row[name] for name in names] for row in rows])
    digest = blake2b(content.encode("utf-8", "replace"), digest_size=12).hexdigest()
    token = f"{stream.table}/{stream.topic}/{stream.partition}/{len(rows)}/{digest}"
    return Block(stream, rows, token)
