"""A stream to be evaluated on: interactions in order, users and items numbered as they come."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import F64, I32, I64


class Stream(NamedTuple):
    """Interactions in event order.

    Attributes:
        user_ids, item_ids: the ids by number.
        users, items: int32[n], numbers in order of first appearance.
        times: float64[n], epoch seconds.
        repeats: interactions with an item that the user already had, kept or not.
    """

    user_ids: list[str]
    item_ids: list[str]
    users: I32
    items: I32
    times: F64
    repeats: int

    def __len__(self) -> int:  # a tuple's own length would be the number of its fields
        return len(self.users)


class StreamBuilder:
    """Takes interactions one by one.

    Args:
        keep_repeats: keep an interaction with an item that the user already had.
        limit: take at most so many, 0 for all.
    """

    def __init__(self, keep_repeats: bool = False, limit: int = 0) -> None:
        self._keep_repeats = keep_repeats
        self._limit = limit
        self._users: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._taken: list[tuple[int, int, float]] = []
        self._pairs: set[tuple[int, int]] = set()
        self._repeats = 0

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return bool(self._limit) and len(self._taken) >= self._limit

    def add(self, user: str, item: str, time: float) -> None:
        """Take one interaction, in event order."""
        pair = (
            self._users.setdefault(user, len(self._users)),
            self._items.setdefault(item, len(self._items)),
        )
        if pair in self._pairs:
            self._repeats += 1
            if not self._keep_repeats:
                return
        self._pairs.add(pair)
        self._taken.append((*pair, time))

    def build(self) -> Stream:
        """The stream of all that was taken."""
        users, items, times = zip(*self._taken, strict=True) if self._taken else ((), (), ())
        return Stream(
            list(self._users),
            list(self._items),
            np.array(users, np.int32),
            np.array(items, np.int32),
            np.array(times, np.float64),
            self._repeats,
        )


class Histories(NamedTuple):
    """Growing rows in one flat array, each with the room that it will need.

    Attributes:
        start: int64[rows]; length: int32[rows], entries in use; items: int32[n].
    """

    start: I64
    length: I32
    items: I32


def empty_histories(keys: I32, rows: int) -> Histories:
    """Histories with room for one entry per key; keys are numbers of rows."""
    each = np.bincount(keys, minlength=rows)
    start = np.cumsum(each) - each
    return Histories(
        start.astype(np.int64), np.zeros(rows, np.int32), np.zeros(len(keys), np.int32)
    )
