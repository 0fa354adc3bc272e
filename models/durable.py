"""What is written so that it is there after a power cut, and never half."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct


def write_document(path: Path, said: Struct) -> None:
    """JSON in one step: whoever reads it at any moment reads all of it."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(said), indent=1) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    settle(path.parent)


def settle(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    held = os.open(path, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)
