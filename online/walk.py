"""Walk: through histories from the oldest interaction on, with the context that each one met."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import I32, I64, U8
from online.cooccurrence import NEIGHBOURS
from online.histories import Histories
from online.kernels import kernel


class Walk(NamedTuple):
    """Room to go through the histories of several users, one after the other.

    Attributes:
        items: int32[longest]; clocks: int64[longest]; kinds: uint8[longest], of one user.
        disliked: int64[items], the number of the user who disliked it last; it begins with 1.
        listed: int64[items], mark: int64[1], scratch.
        context: int32[20], newest first.
    """

    items: I32
    clocks: I64
    kinds: U8
    disliked: I64
    listed: I64
    mark: I64
    context: I32


def new_walk(h: Histories, users: I64, items: int) -> Walk:
    """Room for these users."""
    longest = int(h.length[users].max()) if len(users) else 0
    return Walk(
        np.zeros(longest, np.int32),
        np.zeros(longest, np.int64),
        np.zeros(longest, np.uint8),
        np.zeros(items, np.int64),
        np.zeros(items, np.int64),
        np.zeros(1, np.int64),
        np.zeros(NEIGHBOURS, np.int32),
    )


@kernel(nogil=True)
def context_before(w: Walk, e: int, user: int) -> int:
    """Fill w.context with the newest distinct items before entry `e`; their number.

    The caller sets w.disliked[item] = user at every negative entry that he passes.
    """
    w.mark[0] += 1
    count = 0
    for at in range(e - 1, -1, -1):
        item = w.items[at]
        if w.disliked[item] != user and w.listed[item] != w.mark[0]:
            w.listed[item] = w.mark[0]
            w.context[count] = item
            count += 1
            if count == len(w.context):
                break
    return count
