"""The columns that we write, and how values fit into them.

The driver's own type check wraps integers without a word, so values are brought into range here:
a time before 1900 reads 1900, a number too large reads the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from msgspec import Struct

MOST = (1 << 63) - 1
FIRST_MS = int(datetime(1900, 1, 1, tzinfo=UTC).timestamp() * 1000)
LAST_MS = int(datetime(2299, 12, 31, tzinfo=UTC).timestamp() * 1000)

Convert = Callable[[Sequence[Any]], list[Any]]


def _text(value: str) -> str:
    """The wire wants UTF-8; a lone surrogate has none."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def texts(values: Sequence[Any]) -> list[str]:
    """Strings."""
    if all(map(str.isascii, values)):
        return list(values)
    return [_text(value) for value in values]


def text_lists(values: Sequence[Any]) -> list[list[str]]:
    """Lists of strings."""
    return [[_text(value) for value in row] for row in values]


def milliseconds(values: Sequence[Any]) -> list[int]:
    """Aware datetimes or Unix milliseconds, as Unix milliseconds."""
    numbers = np.asarray(values)
    if numbers.dtype == np.int64:
        return list(np.clip(numbers, FIRST_MS, LAST_MS).tolist())
    return [
        min(max(value if type(value) is int else unix_ms(value), FIRST_MS), LAST_MS)
        for value in values
    ]


def unix_ms(value: datetime | float) -> int:
    """One time as Unix milliseconds; a number is taken as such already."""
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else int(value)


def reals(values: Sequence[Any]) -> list[float]:
    """Floats."""
    return [float(value) for value in values]


def real_lists(values: Sequence[Any]) -> list[list[float]]:
    """Lists of floats."""
    return [reals(row) for row in values]


def whole(bits: int, signed: bool = False) -> Convert:
    """Integers of so many bits."""
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)

    def convert(values: Sequence[Any]) -> list[int]:
        numbers = np.asarray(values)
        if numbers.dtype == np.int64:
            return list(np.clip(numbers, low, min(high, MOST)).tolist())
        return [min(max(int(value), low), high) for value in values]

    return convert


def whole_lists(bits: int) -> Convert:
    """Lists of unsigned integers."""
    convert = whole(bits)
    return lambda values: [convert(row) for row in values]


class Table(Struct, frozen=True):
    """A table's columns.

    Attributes:
        kafka: rows carry the topic, partition and offset of the record that they came from.
    """

    name: str
    columns: dict[str, Convert]
    kafka: bool = True

    def convert(self, columns: Mapping[str, Sequence[Any]], rows: int) -> dict[str, list[Any]]:
        """Values that fit.

        Raises:
            ValueError: a column that the table lacks, or of another length.
        """
        unknown = [name for name in columns if name not in self.columns]
        uneven = [name for name, values in columns.items() if len(values) != rows]
        if unknown or uneven:
            raise ValueError(f"{self.name}: unknown columns {unknown}, uneven columns {uneven}")
        return {name: self.columns[name](values) for name, values in columns.items()}


_KAFKA: dict[str, Convert] = {"topic": texts, "partition": whole(32), "offset": whole(64)}

_INTERACTIONS: dict[str, Convert] = {
    "tenant": texts,
    "id": texts,
    "type": texts,
    "user_key": texts,
    "item_id": texts,
    "occurred_at": milliseconds,
    "received_at": milliseconds,
    "surface": texts,
    "price": reals,
    "currency": texts,
    "quantity": whole(32),
    "kind": whole(8, signed=True),
    "rank": whole(32),
    "popularity_rank": whole(32),
    **_KAFKA,
}

_SCORED_COMMENTS: dict[str, Convert] = {
    "tenant": texts,
    "id": texts,
    "user_key": texts,
    "item_id": texts,
    "topics": text_lists,
    "occurred_at": milliseconds,
    "received_at": milliseconds,
    "text": texts,
    "label": texts,
    "negative": reals,
    "neutral": reals,
    "positive": reals,
    "model_version": texts,
    "language": texts,
    "author_cluster": texts,
    "surface": texts,
    "flagged": whole(8),
    **_KAFKA,
}

_ALERTS: dict[str, Convert] = {
    "tenant": texts,
    "fingerprint": texts,
    "key": texts,
    "channel": texts,
    "state": texts,
    "started_at": milliseconds,
    "raised_at": milliseconds,
    "received_at": milliseconds,
    "evidence": reals,
    "threshold": reals,
    "negatives": whole(64),
    "comments": whole(64),
    "share": reals,
    "baseline": reals,
    "effect": reals,
    "severity": texts,
    "title": texts,
    "examples": texts,
    "historic": whole(8),
    "parent": texts,
    "common": text_lists,
    "terms": text_lists,
    "slices": texts,
    "link": texts,
    **_KAFKA,
}

_SERVED: dict[str, Convert] = {
    "tenant": texts,
    "user_key": texts,
    "list_version": texts,
    "policy": texts,
    "surface": texts,
    "items": text_lists,
    "positions": whole_lists(32),
    "seed": whole(64, signed=True),
    "explored": whole_lists(32),
    "propensities": real_lists,
    "served_at": milliseconds,
    "received_at": milliseconds,
    **_KAFKA,
}

_LIST_WRITES: dict[str, Convert] = {
    "tenant": texts,
    "user_key": texts,
    "epoch": whole(64),
    "seq": whole(64),
    "watermark": milliseconds,
    "received_at": milliseconds,
    "written_at": milliseconds,
    "policy": texts,
    "size": whole(16),
}

_ALERT_MARKS: dict[str, Convert] = {
    "tenant": texts,
    "fingerprint": texts,
    "action": texts,
    "marked_at": milliseconds,
    "until": milliseconds,
    "marked_by": texts,
}

TABLES = {
    table.name: table
    for table in (
        Table("interactions", _INTERACTIONS),
        Table("scored_comments", _SCORED_COMMENTS),
        Table("alerts", _ALERTS),
        Table("served", _SERVED),
        Table("list_writes", _LIST_WRITES, kafka=False),
        Table("alert_marks", _ALERT_MARKS, kafka=False),
    )
}
