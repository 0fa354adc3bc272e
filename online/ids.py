"""Ids: strings interned once, as consecutive numbers (slots)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from online.arrays import I32, I64, grown

FREE = -1


class Ids:
    """A two-way map between strings and slots, kept as arrays so that a snapshot is a copy.

    A slot given back by `remove` is used again; its bytes are overwritten with zeros at once.
    """

    def __init__(self) -> None:
        self._slots: dict[str, int] = {}
        self._names: list[str | None] = []
        self._free: list[int] = []
        self._bytes = np.zeros(1024, np.uint8)
        self._start = np.zeros(64, np.int64)
        self._length = np.zeros(64, np.int32)
        self._used = 0
        self._wasted = 0

    def __len__(self) -> int:
        """Strings held."""
        return len(self._slots)

    @property
    def size(self) -> int:
        """Slots handed out so far, free ones included."""
        return len(self._names)

    def find(self, name: str) -> int:
        """The slot of `name`, -1 where it is unknown."""
        return self._slots.get(name, FREE)

    def name(self, slot: int) -> str:
        """The string in a slot ('' in a free one)."""
        return self._names[slot] or ""

    def add(self, name: str) -> int:
        """The slot of `name`, a new one where it is unknown."""
        slot = self._slots.get(name)
        if slot is not None:
            return slot
        if self._free:
            slot = self._free.pop()
            self._names[slot] = name
        else:
            slot = len(self._names)
            self._names.append(name)
        self._slots[name] = slot
        self._write(slot, name.encode("utf-8", "surrogatepass"))
        return slot

    def remove(self, name: str) -> int:
        """Forget `name`; returns the slot it had, -1 where it was unknown."""
        slot = self._slots.pop(name, FREE)
        if slot < 0:
            return slot
        start, length = int(self._start[slot]), int(self._length[slot])
        self._bytes[start : start + length] = 0
        self._wasted += length
        self._length[slot] = FREE
        self._names[slot] = None
        self._free.append(slot)
        return slot

    def slots(self, names: Sequence[str]) -> I32:
        """Slots of many names, new ones where unknown; int32[n]."""
        found = self._slots
        return np.array([found[n] if n in found else self.add(n) for n in names], dtype=np.int32)

    def taken(self) -> I64:
        """Slots that hold a string, ascending."""
        return np.flatnonzero(self._length[: self.size] >= 0)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Copies: bytes uint8[·] (utf-8), start int64[size], length int32[size] (-1: free)."""
        return {
            "bytes": self._bytes[: self._used].copy(),
            "start": self._start[: self.size].copy(),
            "length": self._length[: self.size].copy(),
        }

    @staticmethod
    def names_in(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> list[str | None]:
        """The strings of `<prefix>.bytes|start|length`, None for a free slot."""
        content = arrays[f"{prefix}.bytes"].tobytes()
        starts = arrays[f"{prefix}.start"].tolist()
        lengths = arrays[f"{prefix}.length"].tolist()
        return [
            None if n < 0 else content[s : s + n].decode("utf-8", "surrogatepass")
            for s, n in zip(starts, lengths, strict=True)
        ]

    @classmethod
    def restored(cls, names: Sequence[str | None]) -> Ids:
        """Ids with every name in the slot it had."""
        ids = cls()
        for slot, name in enumerate(names):
            ids._names.append(name)
            ids._reserve(slot)
            if name is None:
                ids._length[slot] = FREE
                ids._free.append(slot)
            else:
                ids._slots[name] = slot
                ids._write(slot, name.encode("utf-8", "surrogatepass"))
        return ids

    def _reserve(self, slot: int) -> None:
        if slot >= len(self._start):
            self._start = grown(self._start, 2 * len(self._start))
            self._length = grown(self._length, 2 * len(self._length))

    def _write(self, slot: int, encoded: bytes) -> None:
        self._reserve(slot)
        self._length[slot] = 0
        end = self._used + len(encoded)
        if end > len(self._bytes):
            self._compact()
            end = self._used + len(encoded)
        if end > len(self._bytes):
            self._bytes = grown(self._bytes, 2 * end)
        self._bytes[self._used : end] = np.frombuffer(encoded, np.uint8)
        self._start[slot] = self._used
        self._length[slot] = len(encoded)
        self._used = end

    def _compact(self) -> None:
        """Close the holes of removed names once they are half of the buffer."""
        if self._wasted * 2 < self._used:
            return
        old, self._bytes = self._bytes, np.zeros_like(self._bytes)
        self._used = self._wasted = 0
        for slot in self._slots.values():
            start, length = int(self._start[slot]), int(self._length[slot])
            self._bytes[self._used : self._used + length] = old[start : start + length]
            self._start[slot] = self._used
            self._used += length
