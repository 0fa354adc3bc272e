"""The archive's buffer: rows wait here until ClickHouse has them, each exactly once.

First belt: on assignment the writer reads which offsets of the partition are there, and skips
them. Second belt: a block that must be sent again after a lost answer is the same block with the
same token, which ClickHouse counts once. And nothing is sent but by an owner who is certain to be
one: two who both believe it would look up the same offsets, and write the same rows.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from itertools import chain, compress
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct

from infra.warehouse_client import TransientError, UncertainError, Warehouse
from infra.warehouse_offsets import WINDOW, ArchivedOffsets
from infra.warehouse_tables import TABLES, unix_ms

BLOCK_ROWS = 50_000
MAX_ROWS = 1_000_000

Row = Mapping[str, Any]
Columns = dict[str, Sequence[Any]]  # column → values, all of one length


class Stream(NamedTuple):
    """Rows that go into one insert: a table, and the Kafka partition they came from."""

    table: str
    topic: str
    partition: int


class Block(Struct, frozen=True):
    """Rows of one stream and one month, as they are sent, and sent again."""

    stream: Stream
    columns: Columns
    token: str


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
        self._lock = threading.Lock()  # guards what follows, never held while ClickHouse works
        self._flushing = threading.Lock()  # held for a whole flush
        self._waiting: dict[Stream, list[Columns]] = {}
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
            columns: kept as they are, so the caller must not change them afterwards; the same ones
                at every call for a table.

        Raises:
            MemoryError: `max_rows` rows wait.
        """
        stream = _stream(table, topic, partition)
        with self._lock:
            archived = self._archived.get(stream)
            if archived is not None and TABLES[table].kafka:
                columns = _without(archived, columns)
            rows = _length(columns)
            if not rows:
                return
            if self._pending >= self._max_rows:
                raise MemoryError(f"{self._pending} rows wait for ClickHouse")
            self._waiting.setdefault(stream, []).append(columns)
            self._pending += rows

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

    def drop(self) -> None:
        """Forget all rows of Kafka records: their partitions are not ours, and they come again."""
        with self._flushing, self._lock:
            for stream in [stream for stream in self._waiting if TABLES[stream.table].kafka]:
                self._pending -= sum(map(_length, self._waiting.pop(stream)))
            for block in [block for block in self._blocks if TABLES[block.stream.table].kafka]:
                self._blocks.remove(block)
                self._pending -= _length(block.columns)
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
            with self._lock:
                self._seal()
            return self._send()

    def waiting(self, table: str) -> list[Columns]:
        """Rows of a table that may not be in ClickHouse yet; not to be changed."""
        with self._lock:
            parts = [block.columns for block in self._blocks if block.stream.table == table]
            for stream, columns in self._waiting.items():
                parts += columns if stream.table == table else []
        return parts

    def close(self) -> None:
        """Close the connections. Rows that still wait are lost to this process."""
        self._warehouse.close()

    def _look_up(self, stream: Stream) -> None:
        """Read what is archived; drop what waits twice or is archived already."""
        archived = ArchivedOffsets(self._warehouse.offsets(*stream, WINDOW))
        with self._lock:
            waiting = self._waiting.pop(stream, [])
            kept = _first_of_each(_without(archived, _joined(waiting))) if waiting else {}
            if _length(kept):
                archived.add(kept["offset"])
                self._waiting[stream] = [kept]
            self._pending -= sum(map(_length, waiting)) - _length(kept)
            self._archived[stream] = archived

    def _unseal(self, stream: Stream) -> None:
        sealed = [block.columns for block in self._blocks if block.stream == stream]
        self._blocks = [block for block in self._blocks if block.stream != stream]
        if sealed:
            self._waiting[stream] = sealed + self._waiting.get(stream, [])

    def _seal(self) -> None:
        for stream, waiting in self._waiting.items():
            for columns in _by_month(_joined(waiting)):
                for start in range(0, _length(columns), BLOCK_ROWS):
                    part = {name: v[start : start + BLOCK_ROWS] for name, v in columns.items()}
                    self._blocks.append(Block(stream, part, _token(stream, part)))
        self._waiting = {}

    def _send(self) -> int:
        sent = 0
        while self._blocks:
            block = self._blocks[0]
            if TABLES[block.stream.table].kafka and not self.certain():
                raise UncertainError("Kafka has not confirmed lately that the partitions are ours")
            sent += self._warehouse.insert(*block.stream, block.columns, block.token)
            with self._lock:
                self._blocks.pop(0)
                self._pending -= _length(block.columns)
        return sent


def _stream(table: str, topic: str, partition: int) -> Stream:
    """Rows that no Kafka record names go together, whatever partition they came from."""
    return Stream(table, topic, partition) if TABLES[table].kafka else Stream(table, "", 0)


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values()), ()))


def _joined(parts: Sequence[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    return {name: list(chain.from_iterable(part[name] for part in parts)) for name in parts[0]}


def _chosen(columns: Columns, keep: Sequence[bool]) -> Columns:
    return {name: list(compress(values, keep)) for name, values in columns.items()}


def _without(archived: ArchivedOffsets, columns: Columns) -> Columns:
    """The rows that are not archived."""
    offsets = columns["offset"]
    if not len(offsets) or archived.ends_before(min(offsets)):
        return columns
    return _chosen(columns, [offset not in archived for offset in offsets])


def _first_of_each(columns: Columns) -> Columns:
    """Without the repeats of an offset."""
    offsets = columns["offset"]
    met: dict[int, int] = {}
    return _chosen(columns, [met.setdefault(o, row) == row for row, o in enumerate(offsets)])


def _by_month(columns: Columns) -> list[Columns]:
    """A block in two months would be two parts, of which a crash may leave one."""
    received = [unix_ms(at) for at in columns["received_at"]]
    if _month(min(received)) == _month(max(received)):
        return [columns]
    months = [_month(at) for at in received]
    return [_chosen(columns, [month == one for month in months]) for one in sorted(set(months))]


def _month(received_ms: int) -> tuple[int, int]:
    moment = time.gmtime(received_ms / 1000)
    return moment.tm_year, moment.tm_mon


def _token(stream: Stream, columns: Columns) -> str:
    """The same for the same records of Kafka; rows of our own are only ever sent again by us."""
    if "offset" in columns:
        offsets = np.asarray(columns["offset"], np.int64).tobytes()
        digest = blake2b(offsets, digest_size=12).hexdigest()
    else:
        digest = secrets.token_hex(12)
    return f"{stream.table}/{stream.topic}/{stream.partition}/{_length(columns)}/{digest}"
