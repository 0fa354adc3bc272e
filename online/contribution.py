"""Contribution: all that some users' histories add to the item statistics, summed up.

Learning adds to the pairs one interaction at a time, which is a walk through memory. Here the
increments of many interactions are counted, sorted by row, and summed row by row, so that the
model is touched once per pair, in order. The first part (`sum_up`) reads nothing but the histories
and runs without the interpreter's lock; the second (`add_rows`) changes the model, in slices.
The statistics are integers, so either way gives the same sums.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online import cooccurrence as co
from online import histories as hi
from online import popularity as po
from online.arrays import F64, I32, I64, U32
from online.cooccurrence import _add as add_pair
from online.histories import Histories
from online.kernels import kernel
from online.walk import Walk, context_before, new_walk

INTERACTIONS = 400_000  # at once: 16 million increments of 4 bytes at most
MOST_ITEMS = 1 << 24  # an increment names its item with 24 bits
BACK = 1 << 5  # an increment: item, kind (2 bits), direction, k (5 bits)
AT_ONCE = (1 << 20) - 1  # of a pair; a value below co.FULL and this stay within 31 bits


class Contribution(NamedTuple):
    """Sums over histories.

    Attributes:
        rows: int32[rows], items with pairs, ascending; ends: int64[rows], where their pairs end.
        keys: int32[pairs]; c, t: int32[pairs], C and T of the pair, in units of 1/SCALE.
        halves: int64[items], weighted interactions in halves.
        fading: float64[5, items], the same faded until `clock`; clock: int64[1].
    """

    rows: I32
    ends: I64
    keys: I32
    c: I32
    t: I32
    halves: I64
    fading: F64
    clock: I64


def portions(h: Histories, users: I64) -> list[I64]:
    """The users, cut so that each part has about INTERACTIONS."""
    if not len(users):
        return []
    part = np.cumsum(h.length[users], dtype=np.int64) // INTERACTIONS
    return np.split(users, np.flatnonzero(np.diff(part)) + 1)


def sum_up(h: Histories, users: I64, items: int, clock: int) -> Contribution:
    """What the users' histories add to the statistics, as of a tick of the clock.

    Raises:
        ValueError: there are more than 2^24 items.
    """
    if items > MOST_ITEMS:
        raise ValueError(f"at most {MOST_ITEMS} items can be summed up, not {items}")
    walk = new_walk(h, users, items)
    start = np.zeros(items + 1, np.int64)
    halves, fading = np.zeros(items, np.int64), np.zeros((len(po.HALF_LIVES), items))
    _count(h, users, walk, start, halves, fading, clock)
    np.cumsum(start, out=start)
    increments = np.empty(start[-1], np.uint32)
    walk.disliked[:] = 0
    _spread(h, users, walk, start.copy(), increments)
    rows = np.flatnonzero(np.diff(start)).astype(np.int32)
    ends = np.zeros(len(rows), np.int64)
    pairs = tuple(np.empty(len(increments), np.int32) for _ in range(3))  # touched as far as used
    _sum_rows(rows, start, increments, ends, *pairs)
    size = int(ends[-1]) if len(ends) else 0
    keys, c, t = (column[:size] for column in pairs)
    return Contribution(rows, ends, keys, c, t, halves, fading, np.array([clock]))


@kernel(nogil=True)
def _count(
    h: Histories, users: I64, w: Walk, start: I64, halves: I64, fading: F64, clock: int
) -> None:
    """How many increments each row gets (into start[row + 1]), and the popularity."""
    for u in range(len(users)):
        n = hi.read(h, users[u], 0, w.items, w.clocks, w.kinds)
        for e in range(n):
            item, kind = w.items[e], w.kinds[e]
            if kind == hi.NEGATIVE:
                w.disliked[item] = u + 1
                continue
            for k in range(context_before(w, e, u + 1)):
                if w.context[k] != item:
                    start[w.context[k] + 1] += 1
                    start[item + 1] += 1
            halves[item] += co.HALVES[kind]
            age = clock - w.clocks[e]
            for c in range(len(po.HALF_LIVES) - 1, -1, -1):
                lives = age / po.HALF_LIVES[c]
                if lives >= po.GONE:
                    break  # the shorter ones are gone, too
                fading[c, item] += 0.5 * co.HALVES[kind] * 2.0**-lives


@kernel(nogil=True)
def _spread(h: Histories, users: I64, w: Walk, place: I64, increments: U32) -> None:
    """Write every increment to its row; moves `place` along."""
    for u in range(len(users)):
        n = hi.read(h, users[u], 0, w.items, w.clocks, w.kinds)
        for e in range(n):
            item, kind = w.items[e], np.uint32(w.kinds[e])
            if kind == hi.NEGATIVE:
                w.disliked[item] = u + 1
                continue
            for k in range(context_before(w, e, u + 1)):
                other = w.context[k]
                if other == item:
                    continue
                code = kind << np.uint32(6) | np.uint32(k)
                increments[place[other]] = np.uint32(item) << np.uint32(8) | code
                place[other] += 1
                code |= np.uint32(BACK)
                increments[place[item]] = np.uint32(other) << np.uint32(8) | code
                place[item] += 1


@kernel(nogil=True)
def _sum_rows(rows: I32, start: I64, increments: U32, ends: I64, keys: I32, c: I32, t: I32) -> None:
    """Sum the increments of each row by item."""
    c_sum, t_sum = np.zeros(len(start), np.int64), np.zeros(len(start), np.int64)
    at = 0
    for r in range(len(rows)):
        first = at
        for e in range(start[rows[r]], start[rows[r] + 1]):
            code = increments[e]
            item, k = np.int64(code >> 8), np.int64(code & 31)
            value = np.int64(co.DECAYS[k]) * co.HALVES[np.int64(code >> 6 & 3)]
            if c_sum[item] == 0:
                keys[at] = item
                at += 1
            c_sum[item] += value
            if code & BACK == 0 and k < co.TRANSITIONS:
                t_sum[item] += value
        for pair in range(first, at):
            item = keys[pair]
            c[pair] = min(c_sum[item], co.FULL)
            t[pair] = min(t_sum[item], co.FULL)
            c_sum[item] = 0
            t_sum[item] = 0
        ends[r] = at


@kernel()
def add_rows(p: co.Pairs, s: Contribution, sign: int, at: I64, most: int) -> bool:
    """Add (sign 1) or take out (-1) some of the pairs.

    Args:
        at: int64[2], where to go on: index into `rows`, index into `keys`. Moved along.
        most: pairs after which to stop.

    Returns:
        False where the pairs need room first; call again afterwards.
    """
    end = at[1] + most
    while at[0] < len(s.rows):
        h = s.rows[at[0]]
        while at[1] < s.ends[at[0]]:
            e = at[1]
            if e == end:
                return True
            if sign > 0 and not co.has_room(p, s.keys, 0, h):
                return False
            c, t = int(s.c[e]), int(s.t[e])
            while c > 0:
                some_c, some_t = min(c, AT_ONCE), min(t, AT_ONCE)
                add_pair(p, h, s.keys[e], sign * some_c, sign * some_t)
                c -= some_c
                t -= some_t
            p.out[h] += sign * s.t[e]
            at[1] += 1
        at[0] += 1
    return True


@kernel()
def add_popularity(p: po.Popularity, s: Contribution, sign: int, now: int) -> None:
    """Add (sign 1) or take out (-1) counts and fading counts, faded until `now`."""
    for c in range(len(po.HALF_LIVES)):
        scale = sign * p.step[c] * 2.0 ** (-(now - s.clock[0]) / po.HALF_LIVES[c])
        for i in range(s.fading.shape[1]):
            if s.halves[i] != 0:
                value = p.fading[c, i] + scale * s.fading[c, i]
                p.fading[c, i] = max(0.0, value)
                p.cards[i, c] = p.fading[c, i]
    for i in range(len(s.halves)):
        if s.halves[i] != 0:
            po.add_count(p, i, sign * s.halves[i])
