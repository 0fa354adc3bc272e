"""A file of interactions as a stream to be evaluated on: columns, filters, repeats, limit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from online.prequential_stream import Stream, StreamBuilder
    from streams.replay_rows import RowFile


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

    Raises:
        UserError: the file or a column cannot be used.
    """
    from online.prequential_stream import StreamBuilder
    from streams.replay_columns import choose, parse_map
    from streams.replay_rows import RowFile

    chosen = parse_map(filters.columns)
    if filters.rating is not None:
        chosen["rating"] = filters.rating
    needed = ["user", "item"] + (["rating"] if filters.min_rating is not None else [])
    builder = StreamBuilder(filters.repeat, filters.limit)
    with RowFile(data) as rows:
        columns = choose(rows.columns, chosen, needed).of
        skipped = _fill(builder, rows, columns, filters.min_rating)
    return builder.build(), skipped


def _fill(
    builder: StreamBuilder, rows: RowFile, columns: dict[str, str], min_rating: float | None
) -> int:
    skipped = 0
    last = 0.0
    for row in rows:
        if builder.full:
            break
        user, item = (_id(row.values.get(columns[field])) for field in ("user", "item"))
        if row.problem or not user or not item:
            skipped += 1
            continue
        if min_rating is not None and not _number(row.values.get(columns["rating"])) >= min_rating:
            continue
        last = _seconds(row.values.get(columns.get("time", "")), last)
        builder.add(user, item, last)
    return skipped


def _id(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _number(value: Any) -> float:
    """NaN, which passes no filter, for what is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _seconds(value: Any, otherwise: float) -> float:
    """Only decides who is silent longest; the order is the file's."""
    from streams.replay_times import parse_time

    try:
        return parse_time(value).timestamp()
    except ValueError:
        return otherwise
