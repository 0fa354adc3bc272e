"""Which column means what: `--map user=…,item=…`, and obvious names without it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from infra.settings import UserError

# Compared without case, spaces, dashes and underscores; the first that a file has is taken.
OBVIOUS: dict[str, tuple[str, ...]] = {
    "id": ("id", "eventid"),
    "type": ("type", "eventtype"),
    "user": ("userid", "user", "customerid", "visitorid", "memberid", "reviewerid", "uid"),
    "item": ("itemid", "item", "productid", "courseid", "movieid", "asin", "sku"),
    "time": ("occurredat", "timestamp", "time", "datetime", "createdat", "eventtime", "ts", "date"),
    "text": ("text", "comment", "review", "reviewtext", "body", "content"),
    "tenant": ("tenant",),
    "session": ("sessionid", "session"),
    "surface": ("surface",),
    "price": ("price", "amount"),
    "currency": ("currency",),
    "quantity": ("quantity", "qty"),
    "rating": ("rating", "stars", "overall"),
    "language": ("language", "lang"),
    "author": ("authorcluster",),
}


class Columns(Struct, frozen=True):
    """Field → column name, for the fields that the file has.

    Attributes:
        mapped: fields that the user named, not guessed.
    """

    of: dict[str, str]
    mapped: frozenset[str] = frozenset()


Fields = Mapping[str, tuple[str, ...]]


def parse_map(text: str, fields: Fields = OBVIOUS) -> dict[str, str]:
    """`user=user_id,item=item_id` as a dict.

    Args:
        fields: what may be mapped.

    Raises:
        UserError: not of that form, or a field that no event has.
    """
    chosen: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        field, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not column:
            raise UserError(f"--map {part}: write field=column, for example item=item_id")
        if field not in fields:
            raise UserError(f"--map {part}: no field {field!r}; there are {', '.join(fields)}")
        chosen[field] = column
    return chosen


def choose(
    there: Sequence[str],
    mapped: dict[str, str],
    needed: Collection[str],
    fields: Fields = OBVIOUS,
) -> Columns:
    """The columns to read.

    Args:
        there: the file's columns, in its order.
        mapped: what the user said; obvious names fill in the rest.
        needed: fields without which no row can be used.
        fields: field → its obvious names.

    Raises:
        UserError: a named column is not there, or a needed field has none; names those there are.
    """
    for field, column in mapped.items():
        if column not in there:
            raise UserError(f"no column {column!r} for {field}; {_there(there)}")
    plain = {_plain(column): column for column in reversed(there)}
    taken = set(mapped.values())
    columns = dict(mapped)
    for field, names in fields.items():
        guess = next((plain[name] for name in names if name in plain), None)
        if field not in columns and guess is not None and guess not in taken:
            columns[field] = guess
    for field in needed:
        if field not in columns:
            raise UserError(f"which column is the {field}? --map {field}=COLUMN; {_there(there)}")
    for column in columns.values():
        if there.count(column) > 1:
            raise UserError(f"{there.count(column)} columns are named {column!r}: rename one")
    return Columns(columns, frozenset(mapped))


def _plain(column: str) -> str:
    return "".join(letter for letter in column.lower() if letter.isalnum())


def _there(columns: Sequence[str]) -> str:
    return f"the file has {', '.join(map(repr, columns[:30]))}" if columns else "the file is empty"
