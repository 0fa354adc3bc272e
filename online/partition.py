"""Partition: the users of one partition, what they did, and what they told us."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from online import histories as hi
from online.arrays import F64, I32, I64, U8, grown
from online.histories import KINDS, Histories, new_histories
from online.ids import Ids

if TYPE_CHECKING:
    from online.deltas_journal import Journal

FORGOTTEN, SHORTENED, REFUSED = 0, 1, 2
BETWEEN_INTERESTS = "\x1f"
LAST = 1e15  # seconds, later than any event


class Partition:
    """Users and their histories.

    Attributes:
        counts: int32[5, items], interactions by kind, of the histories that are kept.
        departed: int64[3], interactions that are in no count any more: of users forgotten or
            dropped, cut from long histories, with items refused. Together with the counts they
            are all that was ever learned.
        last_active: float64[users], event time of the newest interaction, epoch seconds.
        personalise: uint8[users].
        interests: int32[users], slot in `interest_sets`, -1 for none.
        items_saved: size of the item table that the last snapshot went up to.
        journal: what other learners are told of it; None where there are none.
    """

    def __init__(self, items: int) -> None:
        self.users = Ids()
        self.histories: Histories = new_histories()
        self.counts: I32 = np.zeros((KINDS, items), np.int32)
        self.departed: I64 = np.zeros(3, np.int64)
        self.hashes: I64 = np.zeros(64, np.int64)
        self.last_active: F64 = np.zeros(64)
        self.personalise: U8 = np.ones(64, np.uint8)
        self.interests: I32 = np.full(64, -1, np.int32)
        self.interest_sets = Ids()
        self._declared: Counter[int] = Counter()
        self.journal: Journal | None = None
        self.items_saved = 0

    def reserve_items(self, items: int) -> None:
        """Room for more items."""
        if items > self.counts.shape[1]:
            self.counts = grown(self.counts, items, axis=1)

    def reserve_users(self, users: int) -> None:
        """Room for more users."""
        if users <= len(self.hashes):
            return
        users = max(users, 2 * len(self.hashes))
        self.histories = hi.with_users(self.histories, users)
        self.hashes = grown(self.hashes, users)
        self.last_active = grown(self.last_active, users)
        self.personalise = grown(self.personalise, users, fill=1)
        self.interests = grown(self.interests, users, fill=-1)

    def add_user(self, user: str, active_at: float) -> int:
        """The user's slot, a new one where he is unknown."""
        slot = self.users.find(user)
        if slot >= 0:
            return slot
        slot = self.users.add(user)
        self.reserve_users(slot + 1)
        self.hashes[slot] = user_hash(user)
        self.last_active[slot] = active_at
        hi.mark_changed(self.histories, slot)
        return slot

    def remove_user(self, user: str) -> None:
        """Clear all that is kept of the user; his statistics were taken out before."""
        slot = self.users.find(user)
        h = self.histories
        n = int(h.length[slot])
        items, clocks = np.zeros(n, np.int32), np.zeros(n, np.int64)
        kinds = np.zeros(n, np.uint8)
        hi.read(h, slot, 0, items, clocks, kinds)
        np.subtract.at(self.counts, (kinds, items), 1)
        self.departed[FORGOTTEN] += n
        hi.clear(h, slot)
        self.users.remove(user)
        self.hashes[slot] = 0
        self.last_active[slot] = 0
        self.personalise[slot] = 1
        self.set_interests(slot, ())

    def set_interests(self, slot: int, interests: Sequence[str]) -> None:
        """Keep what the user declared; a set that nobody declares any more is deleted."""
        before, now = int(self.interests[slot]), -1
        hi.mark_changed(self.histories, slot)
        if interests:
            now = self.interest_sets.add(BETWEEN_INTERESTS.join(interests))
            self._declared[now] += 1
        self.interests[slot] = now
        if before >= 0:
            self._declared[before] -= 1
            if not self._declared[before]:
                del self._declared[before]
                self.interest_sets.remove(self.interest_sets.name(before))

    def interests_saved(self, slots: I64) -> tuple[U8, I32]:
        """What these users declared: see `online.strings`."""
        sets = self.interests[slots]
        if not len(self.interest_sets) or not (declared := sets >= 0).any():
            return np.zeros(0, np.uint8), np.zeros(len(slots), np.int32)
        lengths = np.zeros(len(slots), np.int32)
        content, lengths[declared] = self.interest_sets.saved(sets[declared].astype(np.int64))
        return content, lengths

    def interests_of(self, slot: int) -> list[str]:
        """What the user declared, [] for nothing."""
        declared = int(self.interests[slot])
        return self.interest_sets.name(declared).split(BETWEEN_INTERESTS) if declared >= 0 else []

    def events(self) -> int:
        """Interactions learned: the sum of the counts, and those that left them."""
        return int(self.counts.sum(dtype=np.int64) + self.departed.sum())

    def least_active(self, count: int) -> list[tuple[float, str]]:
        """The `count` users silent longest, in any order, with the time of their last event.

        Nobody learns from those who do not want to be personalised, so they always look silent;
        were they forgotten, their wish would be, too. They go when nobody else is left.
        """
        live = self.users.taken()
        silent = self.last_active[live]
        silent[self.personalise[live] == 0] += LAST
        if count < len(live):
            silent = silent[near := np.argpartition(silent, count)[:count]]
            live = live[near]
        return [(float(t), self.users.name(int(s))) for t, s in zip(silent, live, strict=True)]


def longest_silent(partitions: Mapping[int, Partition], count: int) -> dict[int, list[str]]:
    """The `count` users of all partitions that are silent longest, by partition."""
    silent = [
        (active_at, number, user)
        for number, part in partitions.items()
        for active_at, user in part.least_active(count)
    ]
    found: dict[int, list[str]] = {}
    for _, number, user in sorted(silent)[:count]:
        found.setdefault(number, []).append(user)
    return found


def user_hash(user: str) -> int:
    """64 bits of BLAKE2b, signed."""
    digest = hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
