"""Checkpoint files: arrays and a JSON header, one safetensors file each, under an fsspec URL.

Two kinds of name (docs/checkpoints.md has the format):

    <name>.<epoch>.safetensors                  the whole
    <name>.<epoch>.<first>-<last>.safetensors   the changes of these numbers, merged; number 0 is
                                                the whole as the epoch's owner took it over

The epoch grows with every change of owner and a reader takes the greatest that is complete: a
zombie that still writes or deletes under its own epoch can harm nobody. No pickle anywhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from online import safetensors_files as form
from online.changes import joined

SUFFIX = ".safetensors"
BEGUN = ".part"
_OURS = re.compile(rf"([^.]+)\.(\d+)(?:\.(\d+)-(\d+))?{re.escape(SUFFIX)}")
ATTEMPTS = 20  # a reader's, while an owner merges and deletes files


class Checkpoint(NamedTuple):
    """JSON header of the newest file, all arrays, and the bytes of all files."""

    epoch: int
    header: str
    arrays: dict[str, np.ndarray[Any, Any]]
    bytes: int


class File(NamedTuple):
    """One file's name, taken apart; a whole is number 0."""

    path: str
    name: str
    epoch: int
    first: int
    last: int


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
        """Write a whole, atomically; files of the same name and a lower epoch go afterwards.

        Returns:
            The file's size in bytes.
        """
        written = self._put(f"{name}.{epoch:012d}{SUFFIX}", arrays, header)
        self.delete_before(name, epoch)
        return written

    def write_change(
        self,
        name: str,
        epoch: int,
        numbers: tuple[int, int],
        arrays: Mapping[str, np.ndarray[Any, Any]],
        header: str,
    ) -> int:
        """Write changes, atomically; returns the size in bytes."""
        first, last = numbers
        file = f"{name}.{epoch:012d}.{first:08d}-{last:08d}{SUFFIX}"
        return self._put(file, arrays, header)

    def delete_before(self, name: str, epoch: int) -> None:
        """Delete the files of former owners, and those that a crash left half-written."""
        for file in self._files(name):
            if file.epoch < epoch:
                self._remove(file)
        for begun in Path(self._root).glob(f".{name}.*{BEGUN}") if self._local else ():
            half = _file(begun.name[1:].rsplit(".", 2)[0])
            if half is not None and half.epoch < epoch:
                begun.unlink(missing_ok=True)

    def delete_within(self, name: str, epoch: int, numbers: tuple[int, int]) -> None:
        """Delete the files that a merged one holds."""
        first, last = numbers
        for file in self._files(name):
            inside = first <= file.first and file.last <= last
            if file.epoch == epoch and inside and (file.first, file.last) != numbers:
                self._remove(file)

    def read(self, name: str) -> Checkpoint | None:
        """The state of the greatest complete epoch, None where there is none.

        Raises:
            ValueError: one of its files is cut off, which an object store or a disk never leaves.
        """
        for attempt in range(ATTEMPTS):
            try:
                files = newest_chain(self._settled(name))
                return self._joined(files) if files else None
            except FileNotFoundError:
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(0.005 * attempt)
        return None

    def read_change(self, name: str, epoch: int, numbers: tuple[int, int]) -> Checkpoint:
        """The changes of these numbers, from however many files, as one."""
        first, last = numbers
        within = [
            file
            for file in self._files(name)
            if file.epoch == epoch and first <= file.first and file.last <= last
        ]
        return self._joined(_covering(within, first, last))

    def newest(self, name: str) -> int:
        """The greatest epoch of a checkpoint, -1 where there is none."""
        return max((file.epoch for file in self._files(name)), default=-1)

    def names(self) -> list[str]:
        """The names that have a checkpoint, sorted."""
        return sorted({file.name for file in self._files()})

    def _joined(self, files: list[File]) -> Checkpoint:
        """Oldest first; merged from the newest on, so that the large old one is copied once."""
        found: Checkpoint | None = None
        for file in reversed(files):
            older = self._get(file)
            if found is None:
                found = older
            else:
                arrays = joined(older.arrays, found.arrays)
                found = found._replace(arrays=arrays, bytes=found.bytes + older.bytes)
        if found is None:
            raise FileNotFoundError(self._root)
        return found

    def _put(self, file: str, arrays: Mapping[str, np.ndarray[Any, Any]], header: str) -> int:
        path = f"{self._root}/{file}"
        parts = form.encoded(arrays, header)
        if self._local:
            _write_durably(Path(path), parts)
        else:
            # Object storage puts an object whole or not at all.
            self._fs.pipe_file(path, b"".join(parts))
        return sum(part.nbytes for part in parts)

    def _get(self, file: File) -> Checkpoint:
        if self._local:
            content = np.fromfile(file.path, np.uint8)
        else:
            content = np.frombuffer(bytearray(self._fs.cat_file(file.path)), np.uint8)
        try:
            header, arrays = form.decoded(content)
        except (ValueError, KeyError) as error:
            raise ValueError(f"{file.path} is cut off or altered: {error}") from error
        return Checkpoint(file.epoch, header, arrays, content.nbytes)

    def _remove(self, file: File) -> None:
        with contextlib.suppress(FileNotFoundError):  # another owner was quicker
            self._fs.rm_file(file.path)

    def _settled(self, name: str) -> list[File]:
        """The checkpoint's files, listed until two listings agree.

        One alone may lack both a merged file and those that it took the place of: what is left of
        them would look like an older state.
        """
        files = self._files(name)
        while (again := self._files(name)) != files:
            files = again
        return files

    def _files(self, name: str | None = None) -> list[File]:
        try:
            paths: list[str] = self._fs.ls(self._root, detail=False, refresh=True)
        except FileNotFoundError:
            if self._local:  # a directory that is gone is no empty one
                raise
            return []  # object storage knows no empty folders
        files = [file for path in sorted(paths) if (file := _file(path)) is not None]
        return [file for file in files if name in {None, file.name}]


def newest_chain(files: list[File]) -> list[File]:
    """The files of the greatest epoch that begins with number 0, oldest first."""
    for epoch in sorted({file.epoch for file in files}, reverse=True):
        mine = [file for file in files if file.epoch == epoch]
        if any(file.first == 0 for file in mine):
            return _covering(mine, 0, max(file.last for file in mine))
    return []


def _covering(files: list[File], first: int, last: int) -> list[File]:
    """From the newest back, each time the file that reaches furthest."""
    chain: list[File] = []
    while last >= first:
        ending = [file for file in files if file.last == last]
        if not ending:
            raise FileNotFoundError(f"change {last} is missing")
        chain.append(min(ending, key=lambda file: file.first))
        last = chain[-1].first - 1
    return chain[::-1]


def _file(path: str) -> File | None:
    """None for what others put beside ours."""
    found = _OURS.fullmatch(Path(path).name)
    if found is None:
        return None
    name, epoch, first, last = found.groups(default="0")
    return File(path, name, int(epoch), int(first), int(last))


def _write_durably(path: Path, parts: list[memoryview]) -> None:
    """Write beside, fsync, rename: after a crash the old or the new file is there, never half.

    When this returns it is the new one, whatever loses its power: the folder is on disk, too.
    """
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}{BEGUN}")
    try:
        with beside.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        beside.unlink(missing_ok=True)
