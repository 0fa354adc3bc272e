"""Catalogue: which items are available, and which topics they have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from online.arrays import F32, U8, grown


class Catalogue:
    """Availability and topics per item slot; an item nobody described is available."""

    def __init__(self, items: int) -> None:
        self.available: U8 = np.ones(items, np.uint8)
        self._topics: dict[int, tuple[str, ...]] = {}
        self._items: dict[str, set[int]] = {}

    def reserve(self, items: int) -> None:
        """Room for more items."""
        if items > len(self.available):
            self.available = grown(self.available, items, fill=1)

    def put(self, slot: int, topics: Sequence[str], available: bool) -> None:
        """Describe an item, anew or again."""
        self.available[slot] = available
        for topic in self._topics.pop(slot, ()):
            members = self._items[topic]
            members.discard(slot)
            if not members:
                del self._items[topic]
        if topics:
            self._topics[slot] = tuple(dict.fromkeys(topics))
            for topic in self._topics[slot]:
                self._items.setdefault(topic, set()).add(slot)

    def interest_weights(self, interests: Sequence[str], items: int) -> F32 | None:
        """Σ 1/√df over an item's topics that are among the interests; None where none match.

        df is the number of items that have the topic. float32[items].
        """
        weights = np.zeros(items, np.float32)
        matched = False
        for topic in dict.fromkeys(interests):
            members = self._items.get(topic)
            if members:
                matched = True
                slots = np.fromiter(members, np.int64, len(members))
                weights[slots] += len(members) ** -0.5
        return weights if matched else None
