"""Crowding: a table of items that is nearly full lets those go that were taken longest ago.

An item's slot is a number that histories, pairs, posting lists, threads and increments on their way
hold. While a learner is at work it belongs to one item for good: given to another, it would show up
in every list and history that still means the former. Where a state is loaded all are numbered
anew, and there items may stay away. What would make the table FULL fills it to FILLED only, and
what was taken LATELY comes in any case. Interactions with the others leave the histories, as those
with any item that is refused, and the statistics are the sum over what is left.

An item that stayed away may come back, from the catalogue or because somebody takes it. What was
done with it before never does: the statistics hold a partition as it was read at the start, and are
no longer its sum if the same file says more when the partition is taken over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from online.arrays import I64
from online.changes import item_names

if TYPE_CHECKING:
    from online.shared import Shared

FULL, FILLED = 0.98, 0.75  # of max_items; what fits with some room to spare stays as it is
LATELY = 100_000  # interactions

Given = Mapping[str, npt.NDArray[Any]]


class Newest:
    """When items were taken last, on the learners' common clock, over several partitions."""

    def __init__(self) -> None:
        self._clocks: dict[str, int] = {}

    def add(self, arrays: Given) -> None:
        """A partition's whole state."""
        for name, clock in zip(item_names(arrays), _last_taken(arrays).tolist(), strict=True):
            if clock > self._clocks.get(name, -1):
                self._clocks[name] = clock

    def first(self, most: int) -> list[str]:
        """So many items, those taken last first."""
        return sorted(self._clocks, key=lambda name: (-self._clocks[name], name))[:most]


class Crowding:
    """Which items of a state may have a slot.

    Attributes:
        dropped: items that were left out because they were taken longest ago, and until which
            clock what was done with them counts for nothing.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.dropped: dict[str, int] = {}

    def crowded(self, more: int = 0) -> bool:
        """Whether the table is nearly full, or would be with so many more items."""
        shared = self._shared
        return shared.items.size + more > FULL * shared.config.max_items

    def crowds(self, arrays: Given) -> bool:
        """Whether a state's items would make the table nearly full."""
        return self.crowded(int(np.count_nonzero(self._shared.items.found(item_names(arrays)) < 0)))

    def choose(self, newest: Newest) -> None:
        """Before states are loaded: give slots to the items that were taken last in any of them."""
        shared = self._shared
        shared.intern_many(newest.first(int(FILLED * shared.config.max_items)))

    def admitted(self, arrays: Given, names: Sequence[str], unknown: I64) -> I64:
        """Which of a state's items that have no slot get one, in this order; int64[m]."""
        if not self.crowded(len(unknown)):
            return unknown
        taken = _last_taken(arrays)[unknown]
        order = np.argsort(-taken, kind="stable")
        order = order[taken[order] >= 0]
        left = int(FILLED * self._shared.config.max_items) - self._shared.items.size
        clock = int(arrays["clock"][0]) if "clock" in arrays else 0
        comes = (np.arange(len(order)) < left) | (taken[order] >= clock - LATELY)
        until = max(clock, int(self._shared.model.clock[0]))
        self.dropped |= dict.fromkeys((names[at] for at in unknown[order[~comes]].tolist()), until)
        return unknown[order[comes]]

    def without_past(self, arrays: Given, slots: I64) -> tuple[Given, I64]:
        """A state and its items' slots, less what was done with an item before it was left out."""
        if not self.dropped or "history.items" not in arrays:
            return arrays, slots
        until = np.array([self.dropped.get(name, -1) for name in item_names(arrays)], np.int64)
        items = arrays["history.items"]
        past = (_clocks(arrays) < until[items]) & (slots[items] >= 0)
        if not past.any():
            return arrays, slots
        refused = np.where(past, len(slots), items).astype(np.int32)
        return {**arrays, "history.items": refused}, np.append(slots, -1)


def _last_taken(arrays: Given) -> I64:
    """The clock of the newest interaction with each item of a state's table, -1 for none."""
    found = np.full(len(arrays["items.length"]), -1, np.int64)
    if "history.items" in arrays:
        np.maximum.at(found, arrays["history.items"], _clocks(arrays))
    return found


def _clocks(arrays: Given) -> I64:
    """When each entry of a state's histories was learned."""
    kinds = arrays["history.kinds"].astype(np.int64)
    return arrays["history.clocks"].astype(np.int64) | kinds >> 3 << 32
