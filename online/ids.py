"""Ids: strings interned once, as consecutive numbers (slots)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

import numpy as np

from online import strings
from online.arrays import I32, I64, U8, grown

FREE = -1


class Ids:
    """A two-way map between strings and slots, kept as arrays so that a snapshot is a copy.

    A slot given back by `remove` is used again; its bytes are overwritten with zeros at once.
    """

    def __init__(self) -> None:
        self._slots: dict[str, int] = {}
        self._names: list[str | None] = []
        self._free: list[int] = []
        self._bytes: U8 = np.zeros(1024, np.uint8)
        self._start: I64 = np.zeros(64, np.int64)
        self._length: I32 = np.zeros(64, np.int32)
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

    def names(self, slots: Sequence[int]) -> list[str]:
        """The strings in slots that hold one."""
        held = self._names
        return [held[slot] for slot in slots]  # type: ignore[misc]

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

    def found(self, names: Sequence[str]) -> I64:
        """Slots of many names, -1 where unknown; int64[n]."""
        return np.fromiter(map(self._slots.get, names, repeat(FREE)), np.int64, len(names))

    def taken(self) -> I64:
        """Slots that hold a string, ascending."""
        return np.flatnonzero(self._length[: self.size] >= 0)

    def saved(self, slots: I64 | None = None) -> tuple[U8, I32]:
        """Copies of what is in these slots, or in all: see `online.strings`."""
        if slots is None:
            slots = np.arange(self.size)
        return strings.chosen(self._bytes, self._start, self._length, slots), self._length[slots]

    @classmethod
    def restored(cls, content: U8, length: I32) -> Ids:
        """Ids with every string in the slot it had."""
        ids = cls()
        room = max(len(length), len(ids._length))
        ids._bytes, ids._used = grown(content, max(1024, len(content))), len(content)
        ids._start, ids._length = grown(strings.starts(length), room), grown(length, room)
        ids._names = strings.unpacked(content, length)
        ids._free = np.flatnonzero(length < 0).tolist()
        ids._slots = {name: slot for slot, name in enumerate(ids._names) if name is not None}
        return ids

    def _write(self, slot: int, encoded: bytes) -> None:
        if slot >= len(self._start):
            self._start = grown(self._start, 2 * len(self._start))
            self._length = grown(self._length, 2 * len(self._length))
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
        taken = self.taken()
        kept = strings.chosen(self._bytes, self._start, self._length, taken)
        self._bytes[:] = 0
        self._bytes[: len(kept)] = kept
        self._start[taken] = strings.starts(self._length[taken])
        self._used, self._wasted = len(kept), 0
