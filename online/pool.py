"""Pool: room for the candidates of one list; who comes in is in `online.candidates`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import F32, F64, I32, I64
from online.interests import MOST_NEAREST
from online.pairs import LEADERS

CAPACITY = 1280
ROWS = 20  # context items whose texts are looked at …
PAIRED = 16  # … and those whose rows are
LONGEST = 2 * LEADERS  # entries of a row without leaders: it grows where more than 3/4 are taken
ENTRIES = PAIRED * LONGEST
OUTSIDE = 2048
MARKS = 4096  # `place` is mark · MARKS + place, or + OUTSIDE and more


class Pool(NamedTuple):
    """Room for the candidates of one list; nothing here is state.

    Attributes:
        place: int64[items], see MARKS; of an older mark: not met yet.
        slots: int32[1281], the candidates; size: int64[1], how many.
        wc, wt: float32[PAIRED], the weights of the rows.
        c_sum, t_sum: float32[2112], weighted sums of the rows' C and T; from 2048 on: of no use.
        q_sum: float32[1280], see `online.content`.
        met: int32[3, 4096], the other items of the rows' pairs, which of them are outside, and
            where a row ends; weighed: float32[2, 4096], the pairs' C and T, weighted.
        outside: float64[2], the sums of C · damp and of T that fell to items outside.
        wanted: int32[384], more candidates, of which the first wants[0] count.
        counts: float64[1280]; damp: float32[1280]; fading: float32[5, 1280], see `popularity`.
    """

    place: I64
    slots: I32
    size: I64
    wc: F32
    wt: F32
    c_sum: F32
    t_sum: F32
    q_sum: F32
    met: I32
    weighed: F32
    outside: F64
    wanted: I32
    wants: I64
    counts: F64
    damp: F32
    fading: F32


def new_pool(items: int) -> Pool:
    """Empty."""
    return Pool(
        np.zeros(items, np.int64),
        np.zeros(CAPACITY + 1, np.int32),
        np.zeros(1, np.int64),
        np.zeros(PAIRED, np.float32),
        np.zeros(PAIRED, np.float32),
        np.zeros(OUTSIDE + 64, np.float32),
        np.zeros(OUTSIDE + 64, np.float32),
        np.zeros(CAPACITY, np.float32),
        np.zeros((3, ENTRIES), np.int32),
        np.zeros((2, ENTRIES), np.float32),
        np.zeros(2),
        np.zeros(MOST_NEAREST, np.int32),
        np.zeros(1, np.int64),
        np.zeros(CAPACITY),
        np.zeros(CAPACITY, np.float32),
        np.zeros((5, CAPACITY), np.float32),
    )
