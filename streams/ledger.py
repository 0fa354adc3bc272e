"""Which event ids were met before: a bounded window per user partition.

Exact within the last `WINDOW` events of the partition; beyond it, offsets in the checkpoint still
keep a redelivery from counting twice, only a *producer's* repeat older than the window would.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from online.siphash import hash_strings

WINDOW = 100_000
SECRET_BYTES = 16


class EventHashes:
    """64 bits of an id: at 100,000 ids a chance of 3e-10 that any two collide.

    The secret is made with a partition and goes where its window goes, so that nobody can make an
    id that is taken for another one's.
    """

    def __init__(self, secret: bytes | None = None) -> None:
        self.secret = secret or secrets.token_bytes(SECRET_BYTES)
        self._keys: dict[str, NDArray[np.uint64]] = {}

    def one(self, tenant: str, event_id: str) -> int:
        """The hash of an id of this tenant."""
        return self.many(tenant, [event_id])[0]

    def many(self, tenant: str, event_ids: Sequence[str]) -> list[int]:
        """`one` of each."""
        text = "".join(event_ids)
        ids = event_ids if text.isascii() else [one.encode() for one in event_ids]
        ends = np.fromiter(map(len, ids), np.int64, len(ids)).cumsum()
        content = np.frombuffer(text.encode(), np.uint8)
        hashes: list[int] = hash_strings(content, ends, self._key(tenant)).tolist()
        return hashes

    def _key(self, tenant: str) -> NDArray[np.uint64]:
        key = self._keys.get(tenant)
        if key is None:
            digest = blake2b(tenant.encode(), key=self.secret, digest_size=16).digest()
            key = self._keys[tenant] = np.frombuffer(digest, np.uint64)
        return key


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
