"""Which event ids were met before: a bounded window per user partition.

Exact within the last `WINDOW` events of the partition; beyond it, offsets in the checkpoint still
keep a redelivery from counting twice, only a *producer's* repeat older than the window would.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

WINDOW = 100_000


def event_hash(tenant: str, event_id: str) -> int:
    """64 bits of the id: at 100,000 ids a chance of 3e-10 that any two collide."""
    return int.from_bytes(blake2b(f"{tenant}/{event_id}".encode(), digest_size=8).digest(), "big")


class IdWindow:
    """The last `window` ids, in order of arrival."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._order: dict[int, None] = {}

    def __contains__(self, hashed: int) -> bool:
        return hashed in self._order

    def __len__(self) -> int:
        return len(self._order)

    def add(self, hashed: int) -> None:
        """Remember an id; the oldest leaves when the window is full."""
        self._order[hashed] = None
        if len(self._order) > self._window:
            del self._order[next(iter(self._order))]

    def array(self) -> NDArray[np.uint64]:
        """uint64[n], oldest first."""
        return np.fromiter(self._order, dtype=np.uint64, count=len(self._order))

    def load(self, hashes: NDArray[np.uint64]) -> None:
        """Replace the content with what `array` gave."""
        self._order = dict.fromkeys(int(value) for value in hashes)
