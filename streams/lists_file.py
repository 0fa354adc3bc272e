"""A file of interactions as a stream to be evaluated on: columns, filters, repeats, limit."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from streams.replay_row import LeftOut, Row, UnreadableRowError
from streams.replay_rows import RowFile
from streams.replay_times import parse_time

SHOWN = 100

if TYPE_CHECKING:
    from online.prequential_stream import Stream


class Filters(msgspec.Struct, frozen=True):
    """Which rows count.

    Attributes:
        columns: "user=…,item=…,time=…"; obvious names need none.
        rating: column of ratings; min_rating: rows below it are left out.
        limit: the first so many interactions, 0 for all.
        repeat: keep a user's repeats of an item.
    """

    columns: str = ""
    rating: str | None = None
    min_rating: float | None = None
    limit: int = 0
    repeat: bool = False


def read_stream(data: Path, filters: Filters) -> tuple[Stream, int]:
    """The file as a stream, and the rows left out because user or item is missing or unreadable.

    Says on stderr what was left out, and whether the file's order is that of its times.

    Raises:
        UserError: the file or a column cannot be used.
    """
    from online.prequential_stream import StreamBuilder
    from streams.replay_columns import choose, parse_map

    chosen = parse_map(filters.columns)
    if filters.rating is not None:
        chosen["rating"] = filters.rating
    needed = ["user", "item"] + (["rating"] if filters.min_rating is not None else [])
    builder = StreamBuilder(filters.repeat, filters.limit)
    left_out, times = LeftOut(), _Times()
    with RowFile(data) as rows:
        columns = choose(rows.columns, chosen, needed).of
        for row in rows:
            if builder.full:
                break
            try:
                user, item = (id_of(row, columns, field) for field in ("user", "item"))
                good = is_rated(row, columns, filters.min_rating)
            except UnreadableRowError as problem:
                left_out.add(row, problem)
                continue
            if good:
                builder.add(user, item, times.of(row, columns.get("time")))
    left_out.tell(data)
    times.tell(data)
    return builder.build(), left_out.count


def id_of(row: Row, columns: Mapping[str, str], field: str) -> str:
    """A user's or an item's id.

    Raises:
        UnreadableRowError: the row has none that can be read.
    """
    found = row.text(columns[field]).strip()
    if not found:
        raise UnreadableRowError(f"no {field}")
    return found


def is_rated(row: Row, columns: Mapping[str, str], least: float | None) -> bool:
    """Whether it is rated so high; without `least` every row is.

    Raises:
        UnreadableRowError: the rating is no number.
    """
    if least is None:
        return True
    text = row.text(columns["rating"]).strip()
    try:
        rating = float(text)
    except ValueError:
        rating = math.nan
    if math.isnan(rating):
        raise UnreadableRowError(f"the rating {text[:SHOWN]!r} is no number")
    return rating >= least


class _Times:
    """Times as the rows come: they decide who is silent longest, the order is the file's."""

    def __init__(self) -> None:
        self._last = 0.0
        self._newest = -math.inf
        self._back, self._unread = LeftOut(), LeftOut()

    def of(self, row: Row, column: str | None) -> float:
        """Epoch seconds; what cannot be read happened with the row before."""
        if column is None:
            return self._last
        value = row.values.get(column)
        try:
            self._last = parse_time(value).timestamp()
        except ValueError:
            self._unread.add(row, repr(value)[:SHOWN])
            return self._last
        if self._last < self._newest:
            self._back.add(row, repr(value)[:SHOWN])
        self._newest = max(self._newest, self._last)
        return self._last

    def tell(self, path: Path) -> None:
        """What a reader of the figures must know, on stderr."""
        if self._back.count:
            print(
                f"{path}: NOT IN ORDER OF TIME: {self._back.count:,} rows are older than one "
                f"before them, the first: {self._back.first}. The file's order counts, so these "
                "figures learn from what came later: sort the file by time",
                file=sys.stderr,
            )
        if self._unread.count:
            print(
                f"{path}: {self._unread.count:,} times cannot be read, the first: "
                f"{self._unread.first}; write epoch seconds, milliseconds or ISO 8601",
                file=sys.stderr,
            )
