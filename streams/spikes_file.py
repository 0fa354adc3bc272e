"""Reading any file of dated comments for the spike detectors: time, key, and what is negative."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from infra.settings import UserError
from streams.replay_columns import choose
from streams.replay_row import LeftOut, Row, UnreadableRowError
from streams.replay_rows import RowFile
from streams.replay_times import parse_time

if TYPE_CHECKING:
    from online.spikes_replays import Stream

FIELDS = ("time", "key", "label", "rating", "negative", "text")
BAD_RATING = 2.0  # of 5


def parse_spike_map(text: str) -> dict[str, str]:
    """`time=at,key=item,label=sentiment` as a dict.

    Raises:
        UserError: not of that form, no time, or not exactly one of label, rating and negative.
    """
    chosen: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        field, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not column or field not in FIELDS:
            raise UserError(
                f"--map {part}: write field=column, the field one of {', '.join(FIELDS)}"
            )
        chosen[field] = column
    if "time" not in chosen:
        raise UserError("--map names no time: add time=COLUMN")
    if sum(field in chosen for field in ("label", "rating", "negative")) != 1:
        raise UserError("--map must name one of label=, rating= (1 and 2 are negative), negative=")
    return chosen


def read_spike_stream(path: Path, columns: dict[str, str]) -> tuple[Stream, list[str], int]:
    """The comments in order of time, their texts, and how many rows could not be used.

    Labels: words that begin with neg are negative; of numbers the least one is.

    Raises:
        UserError: no file, a column that is not there, or no row that can be used.
    """
    import numpy as np

    from online.spikes_replays import Stream

    if not path.is_file():
        raise UserError(f"{path} is no file: name a CSV or JSON Lines file with --data")
    rows: list[tuple[float, str, str, str]] = []
    left_out = LeftOut()
    what = next(field for field in ("label", "rating", "negative") if field in columns)
    with RowFile(path) as file:
        choose(file.columns, columns, (), {})
        for row in file:
            try:
                rows.append(_comment(row, columns, what))
            except UnreadableRowError as problem:
                left_out.add(row, problem)
    left_out.tell(path)
    if not rows:
        raise UserError(f"{path}: no row has a time and a {what} that can be used")
    negative, usable = _negatives([label for *_, label, _ in rows], what)
    keep = [i for i in sorted(range(len(rows)), key=lambda i: rows[i][0]) if usable[i]]
    names = tuple(dict.fromkeys(rows[i][1] for i in keep))
    index = {name: number for number, name in enumerate(names)}
    stream = Stream(
        names,
        np.array([index[rows[i][1]] for i in keep], np.int64),
        np.array([rows[i][0] for i in keep]),
        np.array([negative[i] for i in keep]),
    )
    if not keep:
        raise UserError(f"{path}: no {what} can be read")
    return stream, [rows[i][3] for i in keep], left_out.count + len(rows) - len(keep)


def _comment(row: Row, columns: dict[str, str], what: str) -> tuple[float, str, str, str]:
    """Time, key, label and text.

    Raises:
        UnreadableRowError: it has no time or no label that can be read.
    """
    of = {field: row.text(column) for field, column in columns.items()}
    label = of[what].strip().casefold()
    if not label or label == "none":
        raise UnreadableRowError(f"no {what}")
    try:
        at = parse_time(of["time"]).timestamp()
    except ValueError:
        raise UnreadableRowError(f"the time {of['time'][:100]!r} cannot be read") from None
    return at, of.get("key") or "all", label, of.get("text", "")


def _negatives(labels: list[str], what: str) -> tuple[list[float], list[bool]]:
    """How negative each is, and whether that could be read."""
    numbers = [_number(label) for label in labels]
    usable = [number is not None for number in numbers]
    given = [number for number in numbers if number is not None]
    if what == "label" and len(given) < len(labels):
        return [float(label.startswith("neg")) for label in labels], [True] * len(labels)
    if what == "negative":
        ok = [number is not None and 0.0 <= number <= 1.0 for number in numbers]
        return [number or 0.0 for number in numbers], ok
    limit = BAD_RATING if what == "rating" else min(given, default=0.0)
    return [float(number is not None and number <= limit) for number in numbers], usable


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value == value else None  # noqa: PLR0124 -- not a number
