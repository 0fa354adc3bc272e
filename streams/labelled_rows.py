"""Texts and labels of any CSV or JSONL file, for trainings and measurements of the classifier."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from infra.settings import UserError
from streams.replay_columns import choose
from streams.replay_row import LeftOut, UnreadableRowError
from streams.replay_rows import RowFile


class Labelled(NamedTuple):
    """Text and label of the rows that can be read, as they stand there; `left_out`: the others."""

    rows: list[tuple[str, str]]
    left_out: int


def read_labelled(path: Path, text: str, label: str) -> Labelled:
    """Read all rows; says on stderr which cannot be read.

    Args:
        text, label: names of columns.

    Raises:
        UserError: the file or a column cannot be used.
    """
    found: list[tuple[str, str]] = []
    left_out = LeftOut()
    with RowFile(path) as rows:
        choose(rows.columns, {"text": text, "label": label}, (), {})
        for row in rows:
            try:
                found.append((row.text(text), row.text(label)))
            except UnreadableRowError as problem:
                left_out.add(row, problem)
    left_out.tell(path)
    return Labelled(found, left_out.count)


def read_pairs(path: Path, text: str, label: str) -> list[tuple[str, str]]:
    """The rows of `read_labelled`, as `models` asks for them."""
    return read_labelled(path, text, label).rows


def read_texts(path: Path, text: str, most: int) -> list[str]:
    """The first `most` texts that are not empty.

    Raises:
        UserError: the file or the column cannot be used, or it has none.
    """
    found = [each for each, _ in read_labelled(path, text, text).rows if each.strip()][:most]
    if not found:
        raise UserError(f"{path}: no text in {text!r}")
    return found
