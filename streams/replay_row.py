"""One row of a file: its cells as text, or why it cannot be used; and the rows left out.

What is not UTF-8 is never guessed at: ids that differ in such bytes alone would become one, and
nobody would see it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

NOT_UTF8 = "not UTF-8: save it so, or convert what is GBK by `iconv -f gb18030 -t utf-8`"

Record = dict[str, Any]


class Row(NamedTuple):
    """A row's number, from 1 without the header, and its values; or why it cannot be read."""

    number: int
    values: Record
    problem: str = ""

    def text(self, column: str) -> str:
        """The cell as text, empty where there is none.

        Raises:
            UnreadableRowError: the row cannot be read, or the cell is no plain value or not UTF-8.
        """
        if self.problem:
            raise UnreadableRowError(self.problem)
        value = self.values.get(column)
        if value is None:
            return ""
        if isinstance(value, list | dict):
            raise UnreadableRowError(f"the {column} is not a plain value")
        text = value if isinstance(value, str) else str(value)
        if not is_unicode(text):
            raise UnreadableRowError(f"the {column} is {NOT_UTF8}")
        return text


class UnreadableRowError(Exception):
    """This row cannot be used; the message says why."""


class LeftOut:
    """Rows that could not be used: their number, and which was the first and why."""

    def __init__(self) -> None:
        self.count = 0
        self.first = ""

    def add(self, row: Row, why: object) -> None:
        """One more."""
        self.count += 1
        self.first = self.first or f"row {row.number}: {why}"

    def tell(self, path: Path) -> None:
        """A line on stderr, where there are any."""
        if self.count:
            print(f"{path}: {self.count:,} rows left out, the first: {self.first}", file=sys.stderr)


def is_unicode(text: str) -> bool:
    """Whether all of it was UTF-8 in the file."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
