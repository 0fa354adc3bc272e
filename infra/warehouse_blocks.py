"""Blocks of rows on their way into ClickHouse: whatever shares a table and a month."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct

from infra.warehouse_tables import TABLES, unix_ms

BLOCK_ROWS = 50_000

Columns = Mapping[str, Sequence[Any]]  # column → values, all of one length
Rows = dict[str, list[Any]]  # the same, to be added to
Month = tuple[int, int]


class Stream(NamedTuple):
    """A table, and the Kafka partition that rows of it came from."""

    table: str
    topic: str
    partition: int


class Block(Struct, frozen=True):
    """Rows of one table and one month, as they are sent, and sent again.

    An insert costs ClickHouse some 20 ms of CPU whatever it holds, so that rows of all partitions
    go together; `parts` has them apart, for the day on which one is assigned anew.
    """

    table: str
    parts: dict[Stream, Columns]
    token: str

    @property
    def rows(self) -> int:
        """How many."""
        return sum(map(length, self.parts.values()))

    def columns(self) -> Columns:
        """All rows, and where they came from."""
        together: Rows = {}
        for stream, part in self.parts.items():
            add(together, _with_source(stream, part))
        return together


def blocks_of(waiting: Mapping[Stream, Columns]) -> Iterator[Block]:
    """What waits, at most `BLOCK_ROWS` rows at a time.

    Rows of two months never share one: it would be two parts, of which a crash may leave one.
    """
    months: dict[tuple[str, Month], list[tuple[Stream, Columns]]] = {}
    for stream, rows in waiting.items():
        for month, columns in _by_month(rows).items():
            months.setdefault((stream.table, month), []).append((stream, columns))
    for (table, _), streams in months.items():
        for some in _cut(streams):
            yield Block(table, some, _token(table, some))


def stream_of(table: str, topic: str, partition: int) -> Stream:
    """Rows that no Kafka record names go together, whatever partition they came from."""
    return Stream(table, topic, partition) if TABLES[table].kafka else Stream(table, "", 0)


def length(columns: Columns) -> int:
    """Rows."""
    return len(next(iter(columns.values()), ()))


def add(rows: Rows, columns: Columns) -> None:
    """Add rows of the same columns, or the first ones."""
    for name, values in columns.items():
        if name in rows:
            rows[name] += values
        else:
            rows[name] = list(values)


def chosen(columns: Columns, keep: Sequence[bool]) -> Rows:
    """The rows that are to be kept."""
    return {name: list(compress(values, keep)) for name, values in columns.items()}


def _cut(parts: Sequence[tuple[Stream, Columns]]) -> Iterator[dict[Stream, Columns]]:
    block: dict[Stream, Columns] = {}
    room = BLOCK_ROWS
    for stream, columns in parts:
        start, rows = 0, length(columns)
        while start < rows:
            end = min(rows, start + room)
            block[stream] = {name: values[start:end] for name, values in columns.items()}
            room -= end - start
            start = end
            if not room:
                yield block
                block, room = {}, BLOCK_ROWS
    if block:
        yield block


def _with_source(stream: Stream, columns: Columns) -> Columns:
    if not TABLES[stream.table].kafka:
        return columns
    rows = length(columns)
    return {**columns, "topic": [stream.topic] * rows, "partition": [stream.partition] * rows}


def _by_month(columns: Columns) -> dict[Month, Columns]:
    received = [unix_ms(at) for at in columns["received_at"]]
    if _month(min(received)) == _month(max(received)):
        return {_month(min(received)): columns}
    months = [_month(at) for at in received]
    return {one: chosen(columns, [month == one for month in months]) for one in sorted(set(months))}


def _month(received_ms: int) -> Month:
    moment = time.gmtime(received_ms / 1000)
    return moment.tm_year, moment.tm_mon


def _token(table: str, parts: Mapping[Stream, Columns]) -> str:
    """The same for the same records of Kafka; rows of our own are only ever sent again by us."""
    if not TABLES[table].kafka:
        return f"{table}/{secrets.token_hex(12)}"
    digest = blake2b(digest_size=12)
    for stream, columns in parts.items():
        digest.update(f"{stream.topic}/{stream.partition}/{length(columns)}".encode())
        digest.update(np.asarray(columns["offset"], np.int64).tobytes())
    return f"{table}/{digest.hexdigest()}"
