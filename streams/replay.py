"""Rows of a file as events, and a count of those that are none."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from infra.settings import UserError
from streams.events import (
    FUTURE_SECONDS,
    MAX_ID_BYTES,
    Click,
    Comment,
    Event,
    Purchase,
    encode,
    user_key,
)
from streams.replay_columns import choose, parse_map
from streams.replay_row import LeftOut, Row, UnreadableRowError
from streams.replay_rows import RowFile
from streams.replay_times import parse_time
from streams.sender import Outbound
from streams.topics import TOPIC_OF_TYPE

# How other systems call the three types.
TYPES = {name: name for name in TOPIC_OF_TYPE} | {
    "view": "click",
    "buy": "purchase",
    "order": "purchase",
    "transaction": "purchase",
    "review": "comment",
}
TENANT = re.compile(r"[a-z0-9-]{1,64}")
SHOWN = 100


class ReplayOptions(Struct, frozen=True):
    """How to read a file.

    Attributes:
        type: of rows whose type column does not say; None: click, and the column may say.
        map: `field=column,…`.
        tenant: of every row; None: the tenant column's, or "default".
        limit: at most so many events; 0: all.
    """

    type: str | None = None
    map: str = ""
    tenant: str | None = None
    limit: int = 0


class Replay:
    """A file as a stream of messages in its own order; iterate once.

    A row without an item, or whose time or type cannot be read, is left out, counted and shown. A
    file without a time column happens now. A time in the future is sent as it is: the worker makes
    it a dead letter, with the reason. An optional number that cannot be read is left out of its
    event. A row without a user gets one of its own: its number, `row-<number>` where other rows
    have users.

    Attributes:
        rows: read so far.
        in_future: events that lie more than 5 minutes ahead.

    Raises:
        UserError: type, tenant or map cannot be used, or a column is missing.
    """

    def __init__(self, file: RowFile, options: ReplayOptions) -> None:
        self._file = file
        self._options = options
        self._type = options.type or "click"
        if self._type not in TOPIC_OF_TYPE:
            raise UserError(f"--type {options.type}: use {', '.join(TOPIC_OF_TYPE)}")
        if options.tenant is not None and not TENANT.fullmatch(options.tenant):
            raise UserError(f"--tenant {options.tenant}: use a-z, 0-9 and -, at most 64 of them")
        needed = ["item", "text"] if self._type == "comment" else ["item"]
        columns = choose(file.columns, parse_map(options.map), needed)
        self._columns = dict(columns.of)
        if options.type is not None and "type" not in columns.mapped:
            self._columns.pop("type", None)  # said on the command line, not guessed
        self._name = file.path.name.encode()[-80:].decode("utf-8", "ignore")
        self.rows = self.events = self.in_future = 0
        self._left_out = LeftOut()

    def __iter__(self) -> Iterator[Outbound]:
        for row in self._file:
            self.rows = row.number
            try:
                outbound = self._outbound(row)
            except UnreadableRowError as problem:
                self._left_out.add(row, problem)
                continue
            self.events += 1
            yield outbound
            if self.events == self._options.limit:
                return

    @property
    def skipped(self) -> int:
        """Rows left out."""
        return self._left_out.count

    @property
    def first_skipped(self) -> str:
        """Which was the first of them and why."""
        return self._left_out.first

    def _outbound(self, row: Row) -> Outbound:
        kind = self._kind(row)
        event = self._event(kind, row)
        at = event.occurred_at.timestamp()
        try:
            key, value = user_key(event.tenant, event.user_id), encode(event)
        except UnicodeEncodeError:
            raise UnreadableRowError("not valid Unicode") from None
        self.in_future += at > time.time() + FUTURE_SECONDS
        return Outbound(TOPIC_OF_TYPE[kind], key, value, at, event.tenant, event.user_id)

    def _kind(self, row: Row) -> str:
        said = self._text(row, "type").strip().lower()
        if said and said not in TYPES:
            raise UnreadableRowError(f"no type {said[:SHOWN]!r}")
        return TYPES.get(said, self._type)

    def _event(self, kind: str, row: Row) -> Event:
        item = self._text(row, "item").strip()
        if not item:
            raise UnreadableRowError("no item")
        common: dict[str, Any] = {
            "id": self._text(row, "id").strip() or self._own_id(row),
            "occurred_at": self._time(row),
            "user_id": self._user(row),
            "item_id": item,
            "tenant": self._options.tenant or self._text(row, "tenant").strip() or "default",
            "session_id": self._short(row, "session"),
            "surface": self._short(row, "surface"),
        }
        if kind == "click":
            return Click(**common)
        if kind == "purchase":
            return Purchase(
                **common,
                price=self._number(row, "price", 0, 1e12) or 0.0,
                currency=self._text(row, "currency").strip() or "CNY",
                quantity=int(self._number(row, "quantity", 1, 1e6) or 1),
            )
        return Comment(
            **common,
            text=self._text(row, "text"),
            rating=self._number(row, "rating", 0, 10),
            language=self._short(row, "language"),
            author_cluster=self._short(row, "author"),
        )

    def _own_id(self, row: Row) -> str:
        """The same for the same row, and for no row of tomorrow's file of that name."""
        said = repr(row.values).encode("utf-8", "surrogateescape")
        return f"{self._name}:{row.number}:{blake2b(said, digest_size=4).hexdigest()}"

    def _time(self, row: Row) -> datetime:
        if "time" not in self._columns:
            return parse_time(time.time())
        value = row.values.get(self._columns["time"])
        if value is None or value == "":
            raise UnreadableRowError("no time")
        try:
            return parse_time(value)
        except ValueError:
            raise UnreadableRowError(f"the time {str(value)[:SHOWN]!r} cannot be read") from None

    def _user(self, row: Row) -> str:
        user = self._text(row, "user").strip()
        if user:
            return user
        return f"row-{row.number}" if "user" in self._columns else str(row.number)

    def _text(self, row: Row, field: str) -> str:
        column = self._columns.get(field)  # "" is one, too: an index that pandas wrote
        return "" if column is None else row.text(column)

    def _short(self, row: Row, field: str) -> str | None:
        """An optional label: none where it is empty or longer than any field takes."""
        text = self._text(row, field).strip()
        return text if text and len(text.encode("utf-8", "replace")) <= MAX_ID_BYTES else None

    def _number(self, row: Row, field: str, least: float, most: float) -> float | None:
        try:
            number = float(self._text(row, field))
        except ValueError:
            return None
        return number if least <= number <= most else None
