"""Checkpoint files: arrays and a JSON header, one safetensors file each, under an fsspec URL.

A file is named `<name>.<epoch>.safetensors`. The epoch grows with every change of owner and a
reader takes the greatest: a zombie that still writes under its own epoch can harm nobody. The
format is open (safetensors: a JSON header, then raw little-endian arrays) and holds no pickle.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SUFFIX = ".safetensors"
HEADER = "springtide"


class Checkpoint(NamedTuple):
    """One file's content: JSON header and arrays."""

    epoch: int
    header: str
    arrays: dict[str, np.ndarray[Any, Any]]
    bytes: int


class CheckpointStore:
    """Reads and writes checkpoints below one URL: a directory, or object storage."""

    def __init__(self, url: str) -> None:
        import fsspec

        self._fs, self._root = fsspec.core.url_to_fs(url)
        self._local = "file" in (
            self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,)
        )
        self._fs.makedirs(self._root, exist_ok=True)

    def write(
        self, name: str, epoch: int, arrays: Mapping[str, np.ndarray[Any, Any]], header: str
    ) -> int:
        """Write atomically; files of the same name and a lower epoch go afterwards.

        Returns:
            The file's size in bytes.
        """
        from safetensors.numpy import save

        content = save(
            {key: np.ascontiguousarray(value) for key, value in arrays.items()},
            metadata={HEADER: header},
        )
        path = f"{self._root}/{name}.{epoch:012d}{SUFFIX}"
        if self._local:
            _write_durably(Path(path), content)
        else:
            self._fs.pipe_file(path, content)  # object storage puts an object whole or not at all
        for older, at in self._files(name):
            if at < epoch:
                self._fs.rm_file(older)
        return len(content)

    def read(self, name: str) -> Checkpoint | None:
        """The checkpoint with the greatest epoch, None where there is none."""
        files = self._files(name)
        if not files:
            return None
        path, epoch = max(files, key=lambda entry: entry[1])
        content: bytes = self._fs.cat_file(path)
        return _parse(content, epoch)

    def newest(self, name: str) -> int:
        """The greatest epoch of a checkpoint, -1 where there is none."""
        return max((epoch for _, epoch in self._files(name)), default=-1)

    def names(self) -> list[str]:
        """The names that have a checkpoint, sorted."""
        found = {Path(path).name.rsplit(".", 2)[0] for path in self._list() if SUFFIX in path}
        return sorted(found)

    def _list(self) -> list[str]:
        paths: list[str] = self._fs.ls(self._root, detail=False, refresh=True)
        return [path for path in paths if path.endswith(SUFFIX)]

    def _files(self, name: str) -> list[tuple[str, int]]:
        found = []
        for path in self._list():
            stem, epoch, _ = Path(path).name.rsplit(".", 2)
            if stem == name:
                found.append((path, int(epoch)))
        return found


def _parse(content: bytes, epoch: int) -> Checkpoint:
    import json

    from safetensors.numpy import load

    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return Checkpoint(epoch, header.get(HEADER, "{}"), load(content), len(content))


def _write_durably(path: Path, content: bytes) -> None:
    """Write beside, fsync, rename: after a crash the old or the new file is there, never half."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
