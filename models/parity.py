"""Parity: how far the answers of two ways to compute one model lie apart, and on which texts.

The gate that an engine or a precision must pass: logits in fp32 within 1e-3 of plain transformers,
labels of bf16 on real comments the same but for 2 in 1,000, of eight bits but for 1 in 100.
"""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.errors import DataError


class Parity(Struct, frozen=True):
    """`largest` difference of a logit, and the share of texts whose likeliest label differs."""

    largest: float
    flips: float


def compare(found: NDArray[np.float32], expected: NDArray[np.float32]) -> Parity:
    """Both [texts, labels]."""
    flips = float(np.mean(found.argmax(axis=1) != expected.argmax(axis=1)))
    return Parity(float(np.abs(found - expected).max()), flips)


def read_texts(path: Path, column: str, most: int) -> list[str]:
    """The first `most` texts of a CSV file, gzipped or not, that are not empty.

    Raises:
        DataError: the file cannot be read, or has no such column.
    """
    opener: Any = gzip.open if path.suffix == ".gz" else open
    texts: list[str] = []
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            if column not in (reader.fieldnames or ()):
                raise DataError(f"{path} has no column {column!r}: {reader.fieldnames}")
            for row in reader:
                if (row[column] or "").strip():
                    texts.append(row[column])
                if len(texts) == most:
                    break
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if not texts:
        raise DataError(f"{path} has no text in {column!r}")
    return texts
