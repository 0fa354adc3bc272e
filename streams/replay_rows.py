"""Rows of a CSV or JSONL file, gzipped or not, one at a time: never the whole file in memory.

UTF-8, or UTF-16 with its mark, as spreadsheets save it.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import msgspec

from infra.settings import UserError
from streams.replay_row import NOT_UTF8, Record, Row, is_unicode

MAX_FIELD = 10_000_000  # characters: a quote that is never closed must not eat the file
MAX_LINE = 20_000_000
LOOK_AHEAD = 100  # objects of a JSONL file whose keys count as its columns
JSON_SUFFIXES = {".jsonl", ".ndjson", ".json"}
UTF16 = {b"\xff\xfe", b"\xfe\xff"}


class RowFile:
    """An open file of rows; a context manager, iterated once.

    Attributes:
        columns: names, in the file's order.
        size: bytes on disk.

    Raises:
        UserError: the file is missing, cannot be read, or has no columns.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._raw = path.open("rb")
            self.size = path.stat().st_size
        except OSError as error:
            raise UserError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
        zipped = self._raw.peek(2)[:2] == b"\x1f\x8b"
        unzipped: Any = gzip.GzipFile(fileobj=self._raw) if zipped else self._raw
        self.columns: Sequence[str] = ()
        self._read = 0
        self._text: IO[str] = io.StringIO()
        try:
            encoding = "utf-16" if unzipped.peek(2)[:2] in UTF16 else "utf-8-sig"
            # What is no UTF-8 can be told by its surrogates: `Row.text` looks for them.
            self._text = io.TextIOWrapper(unzipped, encoding, "surrogateescape", newline="")
            self._rows = self._json() if self._is_json() else self._csv()
        except (UserError, OSError, EOFError, UnicodeError, zlib.error) as error:
            self.close()
            raise error if isinstance(error, UserError) else self._damaged(error) from None

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._text.close()
        self._raw.close()

    @property
    def position(self) -> int:
        """Bytes on disk read so far."""
        return self.size if self._raw.closed else self._raw.tell()

    def __iter__(self) -> Iterator[Row]:
        try:
            for row in self._rows:
                self._read = row.number
                yield row
        except (OSError, EOFError, UnicodeError, zlib.error) as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> UserError:
        reason = str(error) or type(error).__name__
        return UserError(f"{self.path}: damaged after row {self._read} ({reason})")

    def _is_json(self) -> bool:
        suffixes = [suffix.lower() for suffix in self.path.suffixes if suffix.lower() != ".gz"]
        return bool(suffixes) and suffixes[-1] in JSON_SUFFIXES

    def _json(self) -> Iterator[Row]:
        rows = _json_rows(self._text)
        first = list(itertools.islice(rows, LOOK_AHEAD))
        self.columns = list(dict.fromkeys(name for row in first for name in row.values))
        if not self.columns:
            hint = f" (row 1: {first[0].problem})" if first else ""
            raise UserError(f"{self.path}: no JSON objects, one a line{hint}")
        return itertools.chain(first, rows)

    def _csv(self) -> Iterator[Row]:
        csv.field_size_limit(MAX_FIELD)
        lines = iter(lambda: self._text.readline(MAX_LINE), "")
        header = next(filter(str.strip, lines), "")
        delimiter = max(",\t;|", key=header.count)
        names = next(csv.reader([header], delimiter=delimiter), [])
        self.columns = [name.strip() for name in names]
        if not any(self.columns):
            raise UserError(f"{self.path}: empty; the first line must name the columns")
        if "\0" in header or not is_unicode(header):
            raise UserError(f"{self.path}: the first line is no text, or {NOT_UTF8}")
        return _csv_rows(self._text, self.columns, delimiter)


def _csv_rows(text: IO[str], columns: Sequence[str], delimiter: str) -> Iterator[Row]:
    reader = csv.reader(text, delimiter=delimiter)
    number = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            yield Row(number, {}, f"not CSV: {error}")
            continue
        if not cells:  # an empty line is no row
            continue
        number += 1
        surplus = any(cells[len(columns) :])
        problem = f"{len(cells)} cells for {len(columns)} columns" if surplus else ""
        yield Row(number, dict(zip(columns, cells, strict=False)), problem)


def _json_rows(text: IO[str]) -> Iterator[Row]:
    for number, line in enumerate(filter(str.strip, _lines(text)), start=1):
        try:
            yield Row(number, msgspec.json.decode(line, type=Record))
        except UnicodeError:
            yield Row(number, {}, NOT_UTF8)
        except (msgspec.DecodeError, RecursionError) as error:
            yield Row(number, {}, f"not a JSON object: {error}"[:200])


def _lines(text: IO[str]) -> Iterator[str]:
    """Lines, cut where one is longer than memory should hold."""
    return iter(lambda: text.readline(MAX_LINE), "")
