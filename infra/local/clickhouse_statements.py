"""What a statement is, as far as the gateway must know."""

from __future__ import annotations

import re

from msgspec import Struct

_COMMENT = re.compile(r"\A(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?\*/)+", re.S)
_NAME = r"(?:`(?:[^`\\]|\\.)+`|\"(?:[^\"\\]|\\.)+\"|\w+)"
_INSERT = re.compile(
    rf"INSERT\s+INTO\s+(?:TABLE\s+)?(?P<table>{_NAME}(?:\s*\.\s*{_NAME})?)\s*"
    rf"(?:\((?P<columns>\s*{_NAME}(?:\.\w+)*(?:\s*,\s*{_NAME}(?:\.\w+)*)*\s*)\))?\s*"
    r"(?P<settings>SETTINGS\s+.+?)?\s*(?:VALUES|FORMAT\s+\w+)\s*;?\s*",
    re.I | re.S,
)
_KILL = re.compile(r"KILL\s+QUERY\s+WHERE\s+(?P<where>.+?)\s*(?:A?SYNC)?\s*;?\s*", re.I | re.S)
_COLUMN = re.compile(rf"{_NAME}(?:\.\w+)*")
_STREAMED = re.compile(r"(?:SELECT|WITH)\b|\(", re.I)
_ROWS = re.compile(r"(?:SHOW|DESC|DESCRIBE|EXPLAIN|EXISTS)\b", re.I)


class Insert(Struct, frozen=True):
    """An INSERT whose rows come in data packets; names as they were written, quotes and all."""

    table: str
    columns: tuple[str, ...]  # empty: all
    settings: str  # "SETTINGS …" or empty


class Rows(Struct, frozen=True):
    """A statement that answers with rows. `streamed`: it is a SELECT."""

    streamed: bool


class Kill(Struct, frozen=True):
    """An end for the statements of which this holds, in columns of system.processes."""

    where: str


class Order(Struct, frozen=True):
    """Any other statement: it answers with nothing, as a rule."""


def classify(sql: str) -> Insert | Rows | Kill | Order:
    """What kind of statement it is."""
    bare = _COMMENT.sub("", sql)
    insert = _INSERT.fullmatch(bare)
    if insert:
        columns = tuple(_COLUMN.findall(insert["columns"] or ""))
        return Insert(insert["table"], columns, insert["settings"] or "")
    kill = _KILL.fullmatch(bare)
    if kill:
        return Kill(kill["where"])
    if _STREAMED.match(bare):
        return Rows(streamed=True)
    return Rows(streamed=False) if _ROWS.match(bare) else Order()


def bare_name(name: str) -> str:
    """A column's name without its quotes."""
    if name[:1] in '`"':
        return re.sub(r"\\(.)", r"\1", name[1:-1])
    return name


def quoted_name(name: str) -> str:
    """A name in quotes."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def quoted_text(value: str) -> str:
    """A string in quotes."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
