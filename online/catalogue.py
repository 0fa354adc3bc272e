"""Catalogue: which items are available, and which topics they have."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from online.arrays import U8, grown


class Catalogue:
    """Availability and topics per item slot; an item nobody described is available.

    Attributes:
        available: uint8[items].
        changes: how often an item was described.
    """

    def __init__(self, items: int) -> None:
        self.available: U8 = np.ones(items, np.uint8)
        self.changes = 0
        self._topics: dict[int, tuple[str, ...]] = {}
        self._items: dict[str, set[int]] = {}

    def reserve(self, items: int) -> None:
        """Room for more items."""
        if items > len(self.available):
            self.available = grown(self.available, items, fill=1)

    def put(self, slot: int, topics: Sequence[str], available: bool) -> None:
        """Describe an item, anew or again."""
        self.available[slot] = available
        self.changes += 1
        for topic in self._topics.pop(slot, ()):
            members = self._items[topic]
            members.discard(slot)
            if not members:
                del self._items[topic]
        if topics:
            self._topics[slot] = tuple(dict.fromkeys(topics))
            for topic in self._topics[slot]:
                self._items.setdefault(topic, set()).add(slot)

    def members(self, topic: str) -> Collection[int]:
        """Slots of the items that have the topic."""
        return self._items.get(topic, ())
