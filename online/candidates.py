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

import numpy as np

from online.arrays import F32, I32, I64, U8
from online.factors import Factors
from online.kernels import leaf
from online.leaders import find_leaders
from online.pairs import (
    DECAY,
    LEADERS,
    NO_LEADERS,
    SCALE,
    TRANSITIONS,
    WORDS,
    Pairs,
    smoothed,
)
from online.pool import CAPACITY, LONGEST, MARKS, OUTSIDE, PAIRED, ROWS, Pool
from online.popularity import CARD, COUNT, DAMP, LISTED, Popularity
from online.prefetch import LINE, prefetch, prefetch_near, prefetch_row

U = np.uint64  # of a signed index numba asks first whether it counts from the end
FROM_ROWS = 256  # places for items of the rows; the rest is for those popular, or near by content
POPULAR = 32  # of each list, those the user has included


@leaf()
def find(
    context: I32, count: int, mark: int, seen: I64, available: U8, pairs: Pairs, p: Popularity,
    f: Factors, said: F32, pool: Pool,
) -> None:  # fmt: skip
    """Find the candidates of a context, newest first; what the user has is `outside`.

    Args:
        seen: int64[items], `mark` for the items the user has.
        said: float32[items], above 0 where an item's content is a prior of its transitions.
    """
    decay = 1.0
    count = min(count, PAIRED)
    for k in range(count):
        h = context[k]
        pool.wc[k] = decay * p.share[h] / SCALE
        wt = decay / smoothed(pairs.out, said, h) / SCALE
        pool.wt[k] = wt if k < TRANSITIONS else 0.0
        decay *= DECAY
    pool.size[0] = 0
    pool.outside[:] = 0
    add_rows(context, count, FROM_ROWS, mark, available, pairs, p, f, pool)
    _add_others(POPULAR if count else LISTED, mark, seen, available, p, pool)


@leaf()
def gather(p: Popularity, pool: Pool) -> int:
    """Copy what popularity knows of the candidates; their number."""
    n = pool.size[0]
    cards, slots = p.cards, pool.slots
    counts, damp, fading = pool.counts, pool.damp, pool.fading
    for a in range(n):
        i = U(slots[a])
        for c in range(5):
            fading[c, a] = cards[i, c]
        counts[a] = cards[i, COUNT]
        damp[a] = cards[i, DAMP]
    return int(n)


@leaf()
def add_rows(
    rows: I32, count: int, room: int, mark: int, available: U8, pairs: Pairs, p: Popularity,
    f: Factors, pool: Pool,
) -> None:  # fmt: skip
    """Add wc[k] · C[h, ·] and wt[k] · T[h → ·] for every row h = rows[k]; a pair's item becomes a
    candidate while there are less than `room`, unless it is `outside` or may not be listed.

    In two goes, the first of which asks for the memory that the second one needs.
    """
    keys, ends, place, cards, filled = pool.met[0], pool.met[2], pool.place, p.cards, U(0)
    cs, ts = pool.weighed[0], pool.weighed[1]
    for k in range(count):
        h = rows[k]
        lead = pairs.lead[h] if pairs.lead[h] >= NO_LEADERS else find_leaders(pairs, h)
        if lead >= 0:
            cells, start, entries = pairs.leaders, lead * LEADERS * WORDS, _leading(k)
        else:
            cells, start, entries = pairs.cells, pairs.start[h] * WORDS, int(pairs.size[h])
        wc, wt, at = pool.wc[k], pool.wt[k], U(start)
        for _ in range(min(entries, LONGEST)):
            i, c, t = cells[at], cells[at + U(1)], cells[at + U(2)]
            prefetch_near(place, i)
            prefetch_near(cards, U(i) * U(CARD))
            keys[filled] = i  # of an empty entry, or a pair taken out: written over
            cs[filled] = wc * np.float32(c)
            ts[filled] = wt * np.float32(t)
            filled += U((i >= 0) & (c > 0))
            at += U(WORDS)
        ends[k] = filled
    _add_pairs(count, room, mark, available, p, f, pool)


@leaf()
def _add_pairs(
    count: int, room: int, mark: int, available: U8, p: Popularity, f: Factors, pool: Pool
) -> None:
    """Add what was read of `count` rows; see `add_rows`.

    Whether an item is met for the first time no processor foresees, and a branch would have it
    wait for memory at every other pair: hence the arithmetic. What is OUTSIDE is added up in one
    place, and later properly.
    """
    keys, aside, ends = pool.met[0], pool.met[1], pool.met[2]
    cs, ts = pool.weighed[0], pool.weighed[1]
    place, slots, c_sum, t_sum = pool.place, pool.slots, pool.c_sum, pool.t_sum
    base, first, most = mark * MARKS, pool.size[0], U(room)
    n, e, lost = U(first), U(0), U(0)
    c_sum[first:room] = 0
    t_sum[first:room] = 0
    for k in range(count):
        end = U(ends[k])
        while e < end:
            i = U(keys[e])
            known = place[i] - base
            new = known < 0
            there = n if n < most else U(OUTSIDE) + (e & U(63))  # no sum waits for the one before
            a = there if new else U(known)
            place[i] = base + np.int64(a)
            slots[n] = i
            n += U(new & (n < most))
            aside[lost] = e
            lost += U(a >= U(OUTSIDE))
            c_sum[a] += cs[e]
            t_sum[a] += ts[e]
            e += U(1)
        first = _keep(first, np.int64(n), base, available, p, f, pool)
        n = U(first)
    pool.size[0] = first
    lost_c, lost_t = 0.0, 0.0
    for at in range(np.int64(lost)):
        e = U(aside[at])
        lost_c += cs[e] * p.cards[U(keys[e]), DAMP]
        lost_t += ts[e]
    pool.outside[0] += lost_c
    pool.outside[1] += lost_t


@leaf()
def _keep(
    first: int, n: int, base: int, available: U8, p: Popularity, f: Factors, pool: Pool
) -> int:
    """Of the candidates from `first` to before n keep those that may be listed; the new n.

    What is known of them is asked for.
    """
    place, slots, c_sum, t_sum = pool.place, pool.slots, pool.c_sum, pool.t_sum
    cards, kept = p.cards, first
    for a in range(first, n):
        i = U(slots[a])
        prefetch_row(f.e_out, i)
        prefetch_near(f.bias, i)
        if available[i] == 0 or cards[i, COUNT] <= 0:
            place[i] = base + OUTSIDE
            pool.outside[0] += c_sum[a] * cards[i, DAMP]
            pool.outside[1] += t_sum[a]
            continue
        if kept < a:
            place[i], slots[kept], c_sum[kept], t_sum[kept] = base + kept, i, c_sum[a], t_sum[a]
        kept += 1
    c_sum[kept:n] = 0
    t_sum[kept:n] = 0
    return int(kept)


@leaf()
def _leading(k: int) -> int:
    """Leaders looked at in the row of the k-th item: of older context the better half."""
    return LEADERS >> min(k // 8, 1)


@leaf()
def prefetch_rows(context: I32, count: int, pairs: Pairs, p: Popularity, f: Factors) -> None:
    """Ask for what `find` and the factors look at: what belongs to the items of a context."""
    for k in range(min(count, ROWS)):
        prefetch_row(f.e_in, context[k])
    for k in range(min(count, PAIRED)):
        h = context[k]
        prefetch(p.share, h)
        prefetch(pairs.out, h)
        lead, size = pairs.lead[h], int(pairs.size[h])
        if lead >= 0:
            first = lead * LEADERS * WORDS
            for at in range(first, first + _leading(k) * WORDS, LINE):
                prefetch_near(pairs.leaders, at)
        else:
            first = pairs.start[h] * WORDS
            for at in range(first, first + size * WORDS, LINE):
                prefetch_near(pairs.cells, at)


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
def outside(mark: int) -> int:
    """The place of an item that cannot become a candidate."""
    return mark * MARKS + OUTSIDE


@leaf()
def place_of(item: int, mark: int, pool: Pool) -> int:
    """The item's place, -1 where it is no candidate."""
    at = pool.place[item] - mark * MARKS
    return at if 0 <= at < OUTSIDE else -1
