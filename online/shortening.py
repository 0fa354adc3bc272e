"""Shortening: a history that is full loses its oldest quarter, and the statistics what it added.

What an interaction added depends on the newest distinct items before it, twenty at most. Those
that come soon after the cut met items that are gone; all later ones met the same as before. So only
the beginning of a history is taken out as it was, and put back as it is.
"""

from __future__ import annotations

import numpy as np

from online import histories as hi
from online.arrays import I32
from online.cooccurrence import NEIGHBOURS
from online.histories import Histories
from online.kernels import kernel


def beginning(h: Histories, user: int, entries: int) -> Histories:
    """The user's first entries, as the history of user 0."""
    made = hi.new_histories(1, max(1, -(-entries // hi.CHUNK)))
    _copy(h, user, entries, made)
    return made


@kernel()
def _copy(h: Histories, user: int, entries: int, made: Histories) -> None:
    n = int(h.length[user])
    items, clocks, kinds = np.empty(n, np.int32), np.empty(n, np.int64), np.empty(n, np.uint8)
    hi.read(h, user, 0, items, clocks, kinds)
    for e in range(entries):
        hi.put(made, 0, items[e], clocks[e], kinds[e])


@kernel()
def reach(h: Histories, user: int, longest: int) -> int:
    """How many of the first entries another beginning changes: all, where a dislike would go.

    An item that is disliked somewhere is in no context from there on, so only others count.
    """
    n = int(h.length[user])
    items, clocks, kinds = np.empty(n, np.int32), np.empty(n, np.int64), np.empty(n, np.uint8)
    hi.read(h, user, 0, items, clocks, kinds)
    older = max(0, n - longest * 3 // 4)
    known = set()
    disliked = 0
    for e in range(n):
        if kinds[e] == hi.NEGATIVE:
            known.add(items[e])
            disliked += e < older
    if disliked > longest // 8:
        return n
    distinct = 0
    for e in range(older, n):
        if distinct == NEIGHBOURS:
            return e
        if items[e] not in known:
            known.add(items[e])
            distinct += 1
    return n


@kernel()
def cut(h: Histories, user: int, longest: int, counts: I32) -> int:
    """Cut a history to its newest three quarters of `longest`, and an eighth of older dislikes.

    Args:
        counts: int32[5, items], interactions by kind; what leaves is taken out.

    Returns:
        Entries that left.
    """
    n = int(h.length[user])
    items, clocks, kinds = np.empty(n, np.int32), np.empty(n, np.int64), np.empty(n, np.uint8)
    hi.read(h, user, 0, items, clocks, kinds)
    older = max(0, n - longest * 3 // 4)
    disliked = 0
    for e in range(older):
        disliked += kinds[e] == hi.NEGATIVE
    hi.clear(h, user)
    for e in range(n):
        if e < older and kinds[e] == hi.NEGATIVE:
            disliked -= 1
        if e >= older or (kinds[e] == hi.NEGATIVE and disliked < longest // 8):
            hi.put(h, user, items[e], clocks[e], kinds[e])
        else:
            counts[kinds[e], items[e]] -= 1
    return n - int(h.length[user])
