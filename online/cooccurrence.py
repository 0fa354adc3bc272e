"""Co-occurrence and transitions: sparse pair statistics in exact integers.

With h_k the user's k-th last distinct item when he meets item i, and w the kind's weight:

    C[i, h_k] and C[h_k, i] += w · .8^k   for k < 20   (recency co-occurrence)
    T[h_k → i]              += w · .8^k   for k < 12   (transitions), R[h] = Σ_i T[h → i]

Values are integers in units of 1/SCALE, so a sum does not depend on its order and a history can be
taken out exactly. Row h holds (i, C[h,i], T[h→i]). A short row is an open-addressing hash table; a
row that knows a fair part of the catalogue is a dense vector, which is scanned in vector lanes.
A row of more than LEADERS pairs has the heaviest of them beside it (`leaders`). Where memory is
full the weakest pairs go (`reclaiming`).
"""

from __future__ import annotations

import numpy as np

from online.arrays import F32, FAST, I32, I64, grown
from online.blocks import size_class
from online.kernels import kernel, leaf
from online.leaders import note
from online.pair_rows import becomes_dense, grow_row, home, new_block, put, slot
from online.pairs import (
    BLOCKS,
    CLOSED,
    DECAYS,
    DEMOTE,
    DENSE,
    FULL,
    HALVES,
    LEADERS,
    LEAST_CLASS,
    NEIGHBOURS,
    NO_LEADERS,
    REFUSED,
    ROWS,
    SCALE,
    SMALLEST,
    TOP,
    TRANSITIONS,
    WORDS,
    Pairs,
    new_pairs,
    with_cells,
    with_room,
)  # fmt: skip
from online.prefetch import prefetch
from online.reclaiming import halve, make_block, strongest

__all__ = [
    "CLOSED", "DECAYS", "FULL", "HALVES", "LEADERS", "LEAST_CLASS", "NEIGHBOURS", "REFUSED", "ROWS",
    "SCALE", "TOP", "TRANSITIONS", "WORDS", "Pairs", "add_interaction", "add_row", "has_room",
    "new_pairs", "prefetch_entries", "room_needed", "with_items", "with_room",
]  # fmt: skip


def with_items(p: Pairs, items: int, most: int) -> Pairs:
    """Room for more items; dense rows that the wider catalogue makes sparse are hashed again.

    So are those for which `most` entries are too few, the fullest last, with their strongest pairs.
    """
    width = p.dense.shape[2]
    p = p._replace(
        start=grown(p.start, items),
        size=grown(p.size, items),
        used=grown(p.used, items),
        out=grown(p.out, items),
        lead=grown(p.lead, items, fill=NO_LEADERS),
    )
    if items <= width:
        return p
    width = max(items, 2 * width)
    rows = np.flatnonzero(p.size == DENSE)
    rows = rows[np.argsort(-p.used[rows], kind="stable")]
    hashed = int(p.size[p.size > 0].sum())
    stay = max(0, most - hashed) * WORDS // (2 * width)
    stay = min(stay, int(np.count_nonzero(p.used[rows].astype(np.int64) * DEMOTE >= width)))
    classes = _classes(p.used[rows[stay:]], most - hashed - stay * 2 * width // WORDS)
    # One after the other, the largest first, they leave nothing out but before the first.
    if len(classes):
        needed = int((1 << classes).sum()) + (1 << int(classes.max()))
        p = with_cells(p, int(p.state[TOP]) + needed)
    wider = np.zeros((stay + 32, 2, width), np.int32)
    _widen(p, wider, rows, np.append(np.zeros(stay, np.int64), classes))
    p.state[ROWS] = stay
    p.state[CLOSED] = 0  # `with_room` knows
    return p._replace(dense=wider)


def _classes(used: I32, left: int) -> I64:
    """Size classes for rows of so many pairs, smaller ones where there are so few entries left."""
    classes: I64 = np.ceil(np.log2(np.maximum(used * 2.0, 1 << SMALLEST))).astype(np.int64)
    if int((1 << classes).sum()) > left and len(used):
        each = max(left // len(used), 1 << LEAST_CLASS)
        classes = np.minimum(classes, each.bit_length() - 1)
    return classes


@leaf()
def room_needed(p: Pairs, context: I32, count: int, item: int) -> int:
    """Hash entries that one more interaction may take from the top, at most.

    A block of 2^c begins at a multiple of that, so as many may be left out before it.
    """
    need = 4 * max(int(p.size[item]), 32)
    for k in range(min(count, NEIGHBOURS)):
        need += max(2 * int(p.size[context[k]]), 1 << SMALLEST)
    return 2 * need


@leaf()
def has_room(p: Pairs, context: I32, count: int, item: int) -> bool:
    """Whether one more interaction can be added without growing the arrays."""
    if (p.state[BLOCKS] + NEIGHBOURS + 1) * LEADERS * WORDS > len(p.leaders):
        return False
    if p.state[CLOSED]:
        return True
    if p.state[ROWS] + NEIGHBOURS + 1 > len(p.dense):
        return False
    needed: int = room_needed(p, context, count, item)
    return int(p.state[TOP]) + needed <= len(p.cells) // WORDS


@leaf()
def prefetch_entries(p: Pairs, context: I32, count: int, item: int) -> None:
    """Ask for the entries that an interaction with `item` will add to."""
    for k in range(min(count, NEIGHBOURS)):
        _prefetch_entry(p, context[k], item)
        _prefetch_entry(p, item, context[k])


@kernel(inline="always")
def _prefetch_entry(p: Pairs, h: int, key: int) -> None:
    size, width = int(p.size[h]), p.dense.shape[2]
    if size == DENSE:
        prefetch(p.dense, p.start[h] * 2 * width + key)
        prefetch(p.dense, p.start[h] * 2 * width + width + key)
    elif size:
        prefetch(p.cells, (p.start[h] + home(key, size)) * WORDS)
    if p.lead[h] >= 0:
        prefetch(p.leaders, (p.lead[h] + 1) * LEADERS * WORDS - WORDS)
    prefetch(p.used, h)
    prefetch(p.out, h)


@leaf()
def add_interaction(p: Pairs, context: I32, count: int, item: int, halves: int) -> None:
    """Add what an interaction with `item` adds to the pairs; negative halves take it out."""
    for k in range(min(count, NEIGHBOURS)):
        h = context[k]
        if h == item:
            continue
        value = DECAYS[k] * halves
        transition = value if k < TRANSITIONS else 0
        _add(p, h, item, value, transition)
        _add(p, item, h, value, value - value)  # a 0 of the same type: one compilation less
        p.out[h] += transition


@kernel(fastmath=FAST)
def add_row(p: Pairs, h: int, n: int, wc: float, wt: float, c_sum: F32, t_sum: F32) -> None:
    """c_sum[i] += wc · C[h, i] and, where wt > 0, t_sum[i] += wt · T[h→i], for i < n."""
    start, size = p.start[h], int(p.size[h])
    fc, ft = np.float32(wc), np.float32(wt)
    if size == DENSE:
        row = p.dense[start, 0]
        for i in range(n):
            c_sum[i] += fc * np.float32(row[i])
        if wt > 0:
            row = p.dense[start, 1]
            for i in range(n):
                t_sum[i] += ft * np.float32(row[i])
        return
    for at in range(start * WORDS, (start + size) * WORDS, WORDS):
        i = p.cells[at]
        if i >= 0:
            c_sum[i] += fc * np.float32(p.cells[at + 1])
            t_sum[i] += ft * np.float32(p.cells[at + 2])


@kernel(inline="always")
def _add(p: Pairs, h: int, key: int, c: int, t: int) -> None:
    """Below zero only what was refused, or full, can fall: it stops there."""
    word = 0
    if p.size[h] >= 0:
        word = _make_entry(p, h, key, c)
        if word < 0:
            return
    if c < 0 and p.lead[h] >= 0:
        p.lead[h] = -2 - p.lead[h]
    if p.size[h] == DENSE:
        row = p.dense[p.start[h]]
        p.used[h] -= row[0, key] != 0
        if row[0, key] < FULL:
            row[0, key] = max(0, row[0, key] + c)
            row[1, key] = max(0, row[1, key] + t)
        p.used[h] += row[0, key] != 0
        if c >= 0:
            _follow(p, h, key, row[0, key], row[1, key])
        return
    if p.cells[word + 1] < FULL:
        p.cells[word + 1] = max(0, p.cells[word + 1] + c)
        p.cells[word + 2] = max(0, p.cells[word + 2] + t)
        if c >= 0:
            _follow(p, h, key, p.cells[word + 1], p.cells[word + 2])


@kernel(inline="always")
def _follow(p: Pairs, h: int, key: int, c: int, t: int) -> None:
    """Keep the leaders of row h, which got new values for `key`."""
    lead = p.lead[h]
    if lead >= 0:
        note(p.leaders, lead, key, c, t)
    elif lead == NO_LEADERS and p.used[h] > LEADERS:
        p.lead[h] = -2 - p.state[BLOCKS]
        p.state[BLOCKS] += 1


@leaf()
def _make_entry(p: Pairs, h: int, key: int, c: int) -> int:
    """The word of a sparse row's entry for `key`, made if missing; -1: refused; maybe dense now."""
    size = int(p.size[h])
    word: int = 0
    if size:
        word = slot(p, p.start[h], size, key)
        if p.cells[word] == key:
            return word
    if c < 0:  # taking out what was refused
        return -1
    if 4 * (p.used[h] + 1) > 3 * size:
        if not _make_place(p, h):
            p.state[REFUSED] += 1
            return -1
        if p.size[h] == DENSE:
            return 0
        word = slot(p, p.start[h], p.size[h], key)
    p.cells[word] = key
    p.cells[word + 1] = 0
    p.cells[word + 2] = 0
    p.used[h] += 1
    return word


@leaf()
def _make_place(p: Pairs, h: int) -> bool:
    """A place for one more entry in a sparse row; False where not even its own pairs give way."""
    size = int(p.size[h])
    wanted = size_class(size) + 1 if size else SMALLEST
    if p.state[CLOSED] and not becomes_dense(p, h) and not make_block(p, wanted):
        if wanted <= SMALLEST + 1:
            return False
        halve(p, h)
        return True
    if size:
        grow_row(p, h)
    else:
        new_block(p, h, SMALLEST)
    return True


@kernel()
def _widen(p: Pairs, wider: I32, rows: I64, classes: I64) -> None:
    """Move dense rows into the wider array, or, where a row has a class, into a block of it."""
    kept = 0
    for r in range(len(rows)):
        h, old = rows[r], p.start[rows[r]]
        if classes[r]:
            _leave(p, h, p.dense[old], 1 << classes[r])
            continue
        for part in range(2):
            wider[kept, part, : p.dense.shape[2]] = p.dense[old, part]
        p.start[h] = kept
        kept += 1


@kernel()
def _leave(p: Pairs, h: int, row: I32, size: int) -> None:
    """A dense row becomes a sparse one of at most half as many pairs, the strongest."""
    held = int(p.used[h])
    bound, ties = strongest(row[0], 0, row.shape[1], 1, size // 2)
    new_block(p, h, size_class(size))
    p.used[h] = 0
    for i in range(row.shape[1]):
        c = row[0, i]
        if c > bound or (c == bound and ties > 0):
            ties -= c == bound
            put(p, h, i, c - bound // 2, row[1, i])
    p.state[REFUSED] += held - p.used[h]
    if bound > 0 and p.lead[h] >= 0:
        p.lead[h] = -2 - p.lead[h]
