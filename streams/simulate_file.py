"""A simulation as a file of events that `springtide replay` reads back."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from infra.settings import UserError
from streams.sender import Outbound

SUFFIXES = (".jsonl", ".jsonl.gz")
# Columns are found in the first rows of a file, and the first comment may come later.
FIELDS = (
    "type", "id", "occurred_at", "tenant", "user_id", "item_id", "surface", "text", "rating",
    "language", "price", "currency", "quantity",
)  # fmt: skip


def write_events(
    outbounds: Iterable[Outbound],
    path: Path,
    progress: Callable[[int], None] = lambda written: None,
) -> int:
    """Write the interactions as JSON lines, in order; the catalogue and profiles have no event.

    Args:
        path: ends in .jsonl or .jsonl.gz; replaced where it exists.
        progress: told the number written so far.

    Returns:
        Events written.

    Raises:
        UserError: the name ends otherwise, or the file cannot be written.
    """
    check_name(path)
    written = 0
    try:
        with _open(path) as file:
            for outbound in outbounds:
                if outbound.is_interaction:
                    file.write(_first(outbound) if not written else outbound.value)
                    file.write(b"\n")
                    written += 1
                    progress(written)
    except OSError as error:
        raise UserError(f"--to {path}: {(error.strerror or 'cannot be written').lower()}") from None
    return written


def check_name(path: Path) -> None:
    """Check that replay will know what the file is.

    Raises:
        UserError: it will not.
    """
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"--to {path}: name a file that ends in .jsonl or .jsonl.gz")


def _open(path: Path) -> io.BufferedIOBase:
    return gzip.open(path, "wb", compresslevel=6) if path.suffix == ".gz" else path.open("wb")


def _first(outbound: Outbound) -> bytes:
    """The first line names every field."""
    values: dict[str, Any] = msgspec.json.decode(outbound.value)
    return msgspec.json.encode({field: values.pop(field, None) for field in FIELDS} | values)
