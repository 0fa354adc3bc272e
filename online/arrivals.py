"""Arrivals: a batch of interactions as the arrays that kernels work on, ids interned at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from online.arrays import F64, I8
from online.interactions import Kind
from online.learning import Events
from online.partition import Partition
from online.shared import Shared


def read(
    shared: Shared, part: Partition, users: Sequence[str], items: Sequence[str], kinds: I8,
    times: F64,
) -> tuple[Events, F64]:  # fmt: skip
    """The events, and float64[n], their times, finite; users that are unknown have the slot -1.

    Raises:
        ValueError: the arguments differ in length, or a kind is none.
    """
    n = len(users)
    active_at = np.asarray(times, np.float64)
    if not n == len(items) == len(kinds) == len(active_at):
        raise ValueError("users, items, kinds and times must have the same length")
    checked = np.array(kinds, np.int64)  # a copy: kernels are compiled for writable arrays
    if n and not 0 <= checked.min() <= checked.max() < len(Kind):
        raise ValueError("a kind is none of online.interactions.Kind")
    if not np.isfinite(active_at).all():
        active_at = np.nan_to_num(active_at, nan=0.0)
    events = Events(
        part.users.found(users),
        shared.intern_many(items),
        checked,
        np.zeros(n, np.int64),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
    )
    return events, active_at


def welcome(
    part: Partition, events: Events, new: Sequence[int], users: Sequence[str], active_at: F64
) -> None:
    """Give slots to the users of the interactions `new`, and note when all were active last."""
    for at in new:
        events.users[at] = part.add_user(users[at], float(active_at[at]))
    np.maximum.at(part.last_active, events.users, active_at)
    events.hashes[:] = part.hashes[events.users]
