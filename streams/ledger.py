"""Which event ids were met before: a bounded window per user partition.

Exact within the last `WINDOW` events of the partition; beyond it, offsets in the checkpoint still
keep a redelivery from counting twice, only a *producer's* repeat older than the window would.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

WINDOW = 100_000


def event_hash(tenant: str, event_id: str) -> int:
    """64 bits of the id: at 100,000 ids a chance of 3e-10 that any two collide."""
    return event_hashes(tenant, [event_id])[0]


def event_hashes(tenant: str, event_ids: Sequence[str]) -> list[int]:
    """`event_hash` of many."""
    prefix = f"{tenant}/".encode()
    digests = [blake2b(prefix + one.encode(), digest_size=8).digest() for one in event_ids]
    hashes: list[int] = np.frombuffer(b"".join(digests), ">u8").tolist()
    return hashes


class IdWindow:
    """The last `window` ids, in order of arrival: a set to ask, and a ring to forget by."""

    def __init__(self, window: int = WINDOW) -> None:
        self._known: set[int] = set()
        self._ring = np.zeros(window, np.uint64)
        self._next = 0

    def __contains__(self, hashed: int) -> bool:
        return hashed in self._known

    def __len__(self) -> int:
        return len(self._known)

    def add(self, hashed: int) -> None:
        """Remember an id; the oldest leaves when the window is full."""
        if hashed in self._known:
            return
        if len(self._known) == len(self._ring):
            self._known.remove(int(self._ring[self._next]))
        self._known.add(hashed)
        self._ring[self._next] = hashed
        self._next = (self._next + 1) % len(self._ring)

    def add_new(self, hashes: Sequence[int]) -> bool:
        """Remember these, if every one of them is new; else change nothing.

        Returns:
            Whether they were.
        """
        fresh, end = set(hashes), self._next + len(hashes)
        if len(fresh) < len(hashes) or not fresh.isdisjoint(self._known) or end > len(self._ring):
            return False
        leaving = max(0, len(self._known) + len(hashes) - len(self._ring))
        self._known.difference_update(self._ring[self._next : self._next + leaving].tolist())
        self._known |= fresh
        self._ring[self._next : end] = hashes
        self._next = end % len(self._ring)
        return True

    def array(self) -> NDArray[np.uint64]:
        """uint64[n], oldest first."""
        if len(self._known) < len(self._ring):
            return self._ring[: self._next].copy()
        return np.roll(self._ring, -self._next)

    def load(self, hashes: NDArray[np.uint64]) -> None:
        """Replace the content with what `array` gave."""
        kept = hashes[-len(self._ring) :]
        self._known = set(kept.tolist())
        self._ring[: len(kept)] = kept
        self._next = len(kept) % len(self._ring)
