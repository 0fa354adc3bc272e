"""Interactions to train and test rankers on, split by time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
LEAST = 3  # items of a user, from which on his last two are held out


class Split(NamedTuple):
    """Interactions without repeats.

    Attributes:
        users, items: int64[n], numbers, for training; sorted by user, each user's by time.
        start: int64[users + 1], where a user's begin.
        validation, test: int64[users], the held-out items, -1 for none.
        item_count: how many items there are.
    """

    users: I64
    items: I64
    start: I64
    validation: I64
    test: I64
    item_count: int

    @property
    def user_count(self) -> int:
        """How many users there are."""
        return len(self.test)


def split_by_time(users: npt.ArrayLike, items: npt.ArrayLike) -> Split:
    """Hold out each user's last item and the one before it.

    Args:
        users, items: int[n], numbers from 0, in order of time; of a repeated pair the first counts.
    """
    who, what = np.asarray(users, np.int64), np.asarray(items, np.int64)
    item_count = int(what.max()) + 1
    first = np.sort(np.unique(who * item_count + what, return_index=True)[1])
    order = first[np.argsort(who[first], kind="stable")]
    who, what = who[order], what[order]
    each = np.bincount(who)
    last = np.cumsum(each) - 1
    enough = each >= LEAST
    held = np.zeros(len(who), np.bool_)
    held[last[enough]] = held[last[enough] - 1] = True
    start = np.concatenate([[0], np.cumsum(each - 2 * enough)])
    validation, test = np.full(len(each), -1), np.full(len(each), -1)
    test[enough], validation[enough] = what[last[enough]], what[last[enough] - 1]
    return Split(who[~held], what[~held], start, validation, test, item_count)
