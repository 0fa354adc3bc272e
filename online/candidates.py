"""Candidates: the items worth scoring for one context, from posting lists; no scan of all items.

They are the items in the rows of the newest context items (of a long row its leaders), those of
declared interests, and the best by each of the six popularities, which an item that is new and
taken enters with its first events.
Items the user has and items that are unavailable stay outside; what the rows hold of them counts in
the sums by which features are normalised, as in the scan.

Candidates stand in places 0, 1, … of the arrays that a scan fills by slot, so that the same kernels
score both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import F32, F64, I32, I64, U8
from online.factors import Factors
from online.interests import MOST_NEAREST
from online.kernels import leaf
from online.leaders import find_leaders
from online.pairs import (
    CONTENT_PRIOR,
    DECAY,
    LEADERS,
    NO_LEADERS,
    SCALE,
    SMOOTHING,
    TRANSITIONS,
    WORDS,
    Pairs,
)
from online.popularity import LISTED, Popularity
from online.prefetch import LINE, prefetch, prefetch_row

CAPACITY = 1280
FROM_ROWS = 768  # places for items of the rows; the rest is for those popular, or near by content
ROWS = 20  # context items whose rows are looked at
POPULAR = 32  # of each list, those the user has included
OUTSIDE = 2048
MARKS = 4096  # `place` is mark · MARKS + place, or + OUTSIDE


class Pool(NamedTuple):
    """Room for the candidates of one list; nothing here is state.

    Attributes:
        place: int64[items], see MARKS; of an older mark: not met yet.
        slots: int32[1280], the candidates; size: int64[1], how many.
        wc, wt: float32[ROWS], the weights of the rows.
        c_sum, t_sum: float32[1280], weighted sums of the rows' C and T.
        q_sum: float32[1280], see `online.content`.
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
        np.zeros(CAPACITY, np.int32),
        np.zeros(1, np.int64),
        np.zeros(ROWS, np.float32),
        np.zeros(ROWS, np.float32),
        np.zeros(CAPACITY, np.float32),
        np.zeros(CAPACITY, np.float32),
        np.zeros(CAPACITY, np.float32),
        np.zeros(2),
        np.zeros(MOST_NEAREST, np.int32),
        np.zeros(1, np.int64),
        np.zeros(CAPACITY),
        np.zeros(CAPACITY, np.float32),
        np.zeros((5, CAPACITY), np.float32),
    )


@leaf()
def find(
    context: I32, count: int, mark: int, seen: I64, available: U8, pairs: Pairs, p: Popularity,
    f: Factors, said: F32, pool: Pool,
) -> None:  # fmt: skip
    """Find the candidates of a context, newest first.

    Args:
        seen: int64[items], `mark` for the items the user has.
        said: float32[items], above 0 where an item's content is a prior of its transitions.
    """
    decay = 1.0
    count = min(count, ROWS)
    for k in range(count):
        h = context[k]
        pool.wc[k] = decay * p.share[h] / SCALE
        smoothed = pairs.out[h] / SCALE + SMOOTHING
        if said[h] > 0:
            smoothed += CONTENT_PRIOR
        pool.wt[k] = decay / smoothed / SCALE if k < TRANSITIONS else 0.0
        decay *= DECAY
        prefetch(pairs.start, h)
        prefetch(pairs.size, h)
        prefetch(pairs.lead, h)
        prefetch_row(f.e_in, h)
    pool.size[0] = 0
    pool.outside[:] = 0
    add_rows(context, count, FROM_ROWS, mark, seen, available, pairs, p, f, pool)
    _add_others(POPULAR if count else LISTED, mark, seen, available, p, pool)


@leaf()
def gather(p: Popularity, pool: Pool) -> int:
    """Copy what popularity knows of the candidates; their number."""
    n = pool.size[0]
    counts, damp, slots = p.counts, p.damp, pool.slots
    for a in range(n):
        pool.counts[a] = counts[slots[a]]
        pool.damp[a] = damp[slots[a]]
    for c in range(5):
        fading, out = p.fading[c], pool.fading[c]
        for a in range(n):
            out[a] = fading[slots[a]]
    return int(n)


@leaf()
def add_rows(
    rows: I32, count: int, room: int, mark: int, seen: I64, available: U8, pairs: Pairs,
    p: Popularity, f: Factors, pool: Pool,
) -> None:  # fmt: skip
    """Add wc[k] · C[h, ·] and wt[k] · T[h → ·] for every row h = rows[k]; a pair's item becomes a
    candidate while there are less than `room`.

    What is known of a new candidate is asked for at once: it is needed when all rows are through.
    """
    place, slots, c_sum, t_sum = pool.place, pool.slots, pool.c_sum, pool.t_sum
    counts, damp, fading, e_out, bias = p.counts, p.damp, p.fading, f.e_out, f.bias
    base, n, width = mark * MARKS, pool.size[0], p.fading.shape[1]
    lost_c, lost_t = 0.0, 0.0
    for k in range(count):
        h = rows[k]
        if k + 1 < count:
            _prefetch_pairs(pairs, rows[k + 1])
        lead = pairs.lead[h] if pairs.lead[h] >= NO_LEADERS else find_leaders(pairs, h)
        if lead >= 0:
            cells, start = pairs.leaders, lead * LEADERS * WORDS
            entries = LEADERS >> min(k // 8, 1)  # of older context the better half
        else:
            cells, start, entries = pairs.cells, pairs.start[h] * WORDS, int(pairs.size[h])
        wc, wt = pool.wc[k], pool.wt[k]
        for at in range(start, start + entries * WORDS, WORDS):
            i = cells[at]
            if i < 0:
                continue
            a = place[i] - base
            if a < 0:
                a = OUTSIDE
                if n < room and seen[i] != mark and available[i] != 0 and counts[i] > 0:
                    a = n
                    slots[n] = i
                    c_sum[n] = 0
                    t_sum[n] = 0
                    n += 1
                    prefetch_row(e_out, i)
                    prefetch(bias, i)
                    prefetch(damp, i)
                    for half_life in range(5):
                        prefetch(fading, half_life * width + i)
                place[i] = base + a
            c, t = wc * np.float32(cells[at + 1]), wt * np.float32(cells[at + 2])
            if a < OUTSIDE:
                c_sum[a] += c
                t_sum[a] += t
            else:
                lost_c += c * damp[i]
                lost_t += t
    pool.size[0] = n
    pool.outside[0] += lost_c
    pool.outside[1] += lost_t


@leaf()
def _prefetch_pairs(pairs: Pairs, h: int) -> None:
    """Ask for the entries of a row that is looked at next."""
    lead, size = pairs.lead[h], int(pairs.size[h])
    if lead >= 0:
        first = lead * LEADERS * WORDS
        for at in range(first, first + LEADERS * WORDS, LINE):
            prefetch(pairs.leaders, at)
    else:
        first = pairs.start[h] * WORDS
        for at in range(first, first + size * WORDS, LINE):
            prefetch(pairs.cells, at)


@leaf()
def _add_others(
    popular: int, mark: int, seen: I64, available: U8, p: Popularity, pool: Pool
) -> None:
    """Put into the pool what nothing leads to: the items wanted, and so many of each list of the
    popular ones; not those that are there, or may not be listed.

    One loop: an item costs a few nanoseconds, and a call with all these arrays more than ten times
    that.
    """
    place, slots, c_sum, t_sum = pool.place, pool.slots, pool.c_sum, pool.t_sum
    counts, leaders, wanted = p.counts, p.leaders, pool.wanted
    base, n = mark * MARKS, pool.size[0]
    for c in range(-1, leaders.shape[0]):
        for at in range(pool.wants[0] if c < 0 else popular):
            i = wanted[at] if c < 0 else leaders[c, at]
            if i < 0 or n >= CAPACITY:
                break
            known = 0 <= place[i] - base < OUTSIDE
            if known or seen[i] == mark or available[i] == 0 or counts[i] <= 0:
                continue
            place[i] = base + n
            slots[n] = i
            c_sum[n] = 0
            t_sum[n] = 0
            n += 1
    pool.size[0] = n


@leaf()
def place_of(item: int, mark: int, pool: Pool) -> int:
    """The item's place, -1 where it is no candidate."""
    at = pool.place[item] - mark * MARKS
    return at if 0 <= at < OUTSIDE else -1
