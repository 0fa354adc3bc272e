"""Content: what the texts and tags of items say about which item follows which.

q(i|h) ∝ cos(x_i, x_h)³ over the 50 items nearest to h. It enters twice, h_k the user's k-th last
item:

    as a prior of the transitions,  Σ_{k<12} .8^k μ_c q(i|h_k) / (R + μ + μ_c),  μ_c = 20,
    as a feature of the blend,      Σ_{k<20} .8^k q(i|h_k).

Where no item has content, everything is as it would be without this module.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from online.arrays import F32, F64, I32, I64, U8, grown
from online.kernels import kernel
from online.pairs import CONTENT_PRIOR, DECAY, TRANSITIONS, smoothed
from online.pool import MARKS, OUTSIDE, ROWS, Pool

NEAREST = 50
FEATURES = ("content",)
ON, TOP = 0, 1
U16 = npt.NDArray[np.uint16]


class Content(NamedTuple):
    """Posting lists of all items, and the weights of the features made from them.

    Attributes:
        near: int32[items, 50], the nearest items, nearest first, -1 beyond the end.
        cosine: uint16[items, 50], in units of 1/65535.
        total: float32[items], Σ cosine³; 0 for an item without content.
        listed: uint8[items], whether lists may show the item before anybody took it.
        weights, squared: float32[buckets, features], as in `blend`.
        state: int64[2], items with content (ON), one beyond the last listed item (TOP).
    """

    near: I32
    cosine: U16
    total: F32
    listed: U8
    weights: F32
    squared: F32
    state: I64


def new_content(items: int, buckets: int) -> Content:
    """Nothing known."""
    shape = (buckets, len(FEATURES))
    return Content(
        np.full((items, NEAREST), -1, np.int32),
        np.zeros((items, NEAREST), np.uint16),
        np.zeros(items, np.float32),
        np.zeros(items, np.uint8),
        np.full(shape, 0.1, np.float32),
        np.ones(shape, np.float32),
        np.zeros(2, np.int64),
    )


def with_items(c: Content, items: int) -> Content:
    """Room for more items."""
    return c._replace(
        near=grown(c.near, items, fill=-1),
        cosine=grown(c.cosine, items),
        total=grown(c.total, items),
        listed=grown(c.listed, items),
    )


@kernel()
def said_by(c: Content, context: I32, count: int) -> float:
    """Σ_{k<20} .8^k over the context items that have content: what the feature sums up to."""
    found, decay = 0.0, 1.0
    for k in range(min(count, ROWS)):
        if c.total[context[k]] > 0:
            found += decay
        decay *= DECAY
    return found


@kernel()
def add_to_all(
    c: Content, context: I32, count: int, out: I64, n: int, q_sum: F32, t_sum: F32
) -> None:
    """q_sum[i] += Σ .8^k q(i|h_k), t_sum[i] += the prior's part, for i < n."""
    q_sum[:n] = 0
    decay = np.float32(1)
    for k in range(min(count, ROWS)):
        h = context[k]
        if c.total[h] > 0:
            wq = decay / c.total[h]
            wt = wq * np.float32(CONTENT_PRIOR / smoothed(out, c.total, h))
            for e in range(NEAREST):
                i = c.near[h, e]
                if i < 0:
                    break
                if i < n:
                    x = np.float32(c.cosine[h, e]) * np.float32(1 / 65535)
                    q = x * x * x
                    q_sum[i] += wq * q
                    if k < TRANSITIONS:
                        t_sum[i] += wt * q
        decay *= np.float32(DECAY)


@kernel()
def add_to_pool(
    c: Content, context: I32, count: int, room: int, mark: int, seen: I64, available: U8,
    counts: F64, out: I64, pool: Pool,
) -> None:  # fmt: skip
    """The same for the candidates; what is near becomes one while there are less than `room`."""
    place, slots, q_sum, t_sum = pool.place, pool.slots, pool.q_sum, pool.t_sum
    near, cosine, total, listed = c.near, c.cosine, c.total, c.listed
    base, n, lost = mark * MARKS, pool.size[0], 0.0
    q_sum[:n] = 0
    decay = np.float32(1)
    for k in range(min(count, ROWS)):
        h = context[k]
        if total[h] > 0:
            wq = decay / total[h]
            wt = wq * np.float32(CONTENT_PRIOR / smoothed(out, total, h))
            if k >= TRANSITIONS:
                wt = np.float32(0)
            for e in range(NEAREST):
                i = near[h, e]
                if i < 0:
                    break
                x = np.float32(cosine[h, e]) * np.float32(1 / 65535)
                q = x * x * x
                a = place[i] - base
                if a < 0:
                    a = OUTSIDE
                    if (
                        n < room
                        and seen[i] != mark
                        and available[i] != 0
                        and (counts[i] > 0 or listed[i] != 0)
                    ):
                        a = n
                        slots[n] = i
                        pool.c_sum[n] = 0
                        t_sum[n] = 0
                        q_sum[n] = 0
                        n += 1
                    place[i] = base + a
                if a < OUTSIDE:
                    q_sum[a] += wq * q
                    t_sum[a] += wt * q
                else:
                    lost += wt * q
        decay *= np.float32(DECAY)
    pool.size[0] = n
    pool.outside[1] += lost
