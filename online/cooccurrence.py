"""Co-occurrence and transitions: sparse pair statistics in exact integers.

With h_k the user's k-th last distinct item when he meets item i, and w the kind's weight:

    C[i, h_k] and C[h_k, i] += w · .8^k   for k < 20   (recency co-occurrence)
    T[h_k → i]              += w · .8^k   for k < 12   (transitions), R[h] = Σ_i T[h → i]

Values are integers in units of 1/SCALE, so a sum does not depend on its order and a history can be
taken out exactly. Row h holds (i, C[h,i], T[h→i]). A short row is an open-addressing hash table; a
row that knows a fair part of the catalogue is a dense vector, which is scanned in vector lanes.
A row of more than LEADERS pairs has the heaviest of them beside it (`leaders`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from online.arrays import F32, FAST, I32, I64, grown, release, size_class, take
from online.kernels import kernel, leaf
from online.leaders import note
from online.pairs import (
    BLOCKS,
    CLOSED,
    DECAYS,
    DEMOTE,
    DENSE,
    FULL,
    HALVES,
    LEADERS,
    NEIGHBOURS,
    NO_LEADERS,
    PROMOTE,
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
    with_leaders,
    with_rows,
)  # fmt: skip
from online.prefetch import prefetch

__all__ = [
    "CLOSED", "DECAYS", "FULL", "HALVES", "LEADERS", "NEIGHBOURS", "REFUSED", "ROWS", "SCALE",
    "TOP", "TRANSITIONS", "WORDS", "Pairs", "add_interaction", "add_row", "has_room", "new_pairs",
    "prefetch_entries", "room_needed", "with_cells", "with_items", "with_leaders", "with_rows",
]  # fmt: skip


def with_items(p: Pairs, items: int) -> Pairs:
    """Room for more items; dense rows that the wider catalogue makes sparse are hashed again."""
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
    dense = p.size == DENSE
    leaving = dense & (p.used.astype(np.int64) * DEMOTE < width)
    staying = int(np.count_nonzero(dense & ~leaving))
    p = with_cells(p, int(p.state[TOP]) + int(p.used[leaving].sum()) * 4 + 8 * len(leaving))
    wider = np.zeros((staying + 32, 2, width), np.int32)
    _widen(p, wider, np.flatnonzero(dense), leaving)
    p.state[ROWS] = staying
    return p._replace(dense=wider)


@leaf()
def room_needed(p: Pairs, context: I32, count: int, item: int) -> int:
    """Hash entries that one more interaction may take from the top, at most."""
    need = 4 * max(int(p.size[item]), 32)
    for k in range(min(count, NEIGHBOURS)):
        need += max(2 * int(p.size[context[k]]), 1 << SMALLEST)
    return need


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
        prefetch(p.cells, (p.start[h] + _home(key, size)) * WORDS)
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
def _home(key: int, size: int) -> int:
    """The place in a row's block where an entry is looked for first."""
    return (key * 0x9E3779B1 >> 7) & (size - 1)


@kernel(inline="always")
def _slot(p: Pairs, start: int, size: int, key: int) -> int:
    """Word index of the key's entry, or of the empty entry where it belongs."""
    at = _home(key, size)
    while True:
        word = (start + at) * WORDS
        if p.cells[word] == key or p.cells[word] < 0:
            return int(word)
        at = (at + 1) & (size - 1)


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
        word = _slot(p, p.start[h], size, key)
        if p.cells[word] == key:
            return word
    if c < 0:  # taking out what was refused
        return -1
    if 4 * (p.used[h] + 1) > 3 * size:
        if p.state[CLOSED]:
            p.state[REFUSED] += 1
            return -1
        if size:
            _grow_row(p, h)
        else:
            _new_block(p, h, SMALLEST)
        if p.size[h] == DENSE:
            return 0
        word = _slot(p, p.start[h], p.size[h], key)
    p.cells[word] = key
    p.cells[word + 1] = 0
    p.cells[word + 2] = 0
    p.used[h] += 1
    return word


@leaf()
def _new_block(p: Pairs, h: int, c: int) -> None:
    start = take(p.free, p.state, p.cells, WORDS, c)
    p.start[h] = start
    p.size[h] = 1 << c
    for at in range(start, start + (1 << c)):
        p.cells[at * WORDS] = -1


@leaf()
def _grow_row(p: Pairs, h: int) -> None:
    """Twice the block, or dense; pairs that fell back to zero are dropped on the way."""
    old, size = p.start[h], int(p.size[h])
    if p.used[h] * PROMOTE >= p.dense.shape[2] and p.state[ROWS] < len(p.dense):
        row = p.state[ROWS]
        p.state[ROWS] += 1
        p.start[h] = row
        p.size[h] = DENSE
        for at in range(old * WORDS, (old + size) * WORDS, WORDS):
            if p.cells[at] >= 0:
                p.dense[row, 0, p.cells[at]] = p.cells[at + 1]
                p.dense[row, 1, p.cells[at]] = p.cells[at + 2]
    else:
        _new_block(p, h, size_class(size) + 1)
        p.used[h] = 0
        for at in range(old * WORDS, (old + size) * WORDS, WORDS):
            if p.cells[at] >= 0 and p.cells[at + 1] != 0:
                _put(p, h, p.cells[at], p.cells[at + 1], p.cells[at + 2])
    release(p.free, p.cells, WORDS, old, size_class(size))


@leaf()
def _put(p: Pairs, h: int, key: int, c: int, t: int) -> None:
    word = _slot(p, p.start[h], p.size[h], key)
    p.cells[word] = key
    p.cells[word + 1] = c
    p.cells[word + 2] = t
    p.used[h] += 1


@kernel()
def _widen(p: Pairs, wider: I32, rows: I64, leaving: npt.NDArray[np.bool_]) -> None:
    """Move dense rows into the wider array, or, where they leave, into hash blocks."""
    kept = 0
    width = p.dense.shape[2]
    for h in rows:
        old = p.start[h]
        if leaving[h]:
            _new_block(p, h, size_class(p.used[h] * 2))
            p.used[h] = 0
            for i in range(width):
                if p.dense[old, 0, i] != 0:
                    _put(p, h, i, p.dense[old, 0, i], p.dense[old, 1, i])
            continue
        for part in range(2):
            for i in range(width):
                wider[kept, part, i] = p.dense[old, part, i]
        p.start[h] = kept
        kept += 1
