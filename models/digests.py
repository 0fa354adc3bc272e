"""What files are known by: the SHA-256 of each, and a few digits that stand for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal digits."""
    with path.open("rb") as file:  # never whole in memory: a trunk may have gigabytes
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_files(digests: Mapping[str, str]) -> str:
    """12 digits that stand for these files: name → digest."""
    parts = "".join(f"{name}:{digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(parts.encode()).hexdigest()[:12]
