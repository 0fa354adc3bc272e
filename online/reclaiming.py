"""Reclaiming: where the memory of the pairs is full the weakest make room for new ones.

A row needs a larger block, and there is none. A longer row gives half of its own and keeps its
strongest pairs; a hand goes round over the rows, so that each gives in its turn, also one whose
item nobody takes any more. Where no row is longer, the row that grows gives of its own. So all rows
come down to about the same length, a new item's row grows like every other, and memory stays.

A row that is halved also forgets some of what is left: half of the greatest C that went is taken
from every C, much as in the frequent-items algorithm of Misra and Gries (1982; with the median as
threshold: Anderson et al. 2017). Otherwise pairs from long ago could never be overtaken, because
what is new is always the weakest. R, the counts and T of what stays keep their values.
"""

from __future__ import annotations

from online.arrays import I32
from online.blocks import has_block, release, size_class
from online.kernels import kernel, leaf
from online.pair_rows import put
from online.pairs import BEYOND, HAND, LONGEST, REFUSED, WORDS, Pairs


@leaf()
def make_block(p: Pairs, c: int) -> bool:
    """Make sure that there is a free block of 2^c entries; False where no row is longer."""
    if has_block(p.free, p.state, len(p.cells) // WORDS, c):
        return True
    if p.state[LONGEST] <= 1 << c:
        return False
    for _ in range(p.state[BEYOND]):
        h = p.state[HAND]
        p.state[HAND] = h + 1 if h + 1 < p.state[BEYOND] else 0
        if p.size[h] > 1 << c:
            halve(p, h)
            return True
    p.state[LONGEST] = 1 << c
    return False


@leaf()
def halve(p: Pairs, h: int) -> None:
    """Half of a row's block, with no more than a quarter of its entries: those with the most C."""
    start, size = p.start[h], int(p.size[h])
    half, keep = size // 2, size // 4
    first, end = start * WORDS, (start + size) * WORDS
    held = 0
    for at in range(first, end, WORDS):
        if p.cells[at] < 0:
            p.cells[at + 1] = 0
        held += p.cells[at + 1] > 0
    bound, ties = strongest(p.cells, first + 1, size, WORDS, keep)
    kept = 0
    for at in range(first, end, WORDS):  # to the front of the block …
        c = p.cells[at + 1]
        if c < bound or (c == bound and ties == 0):
            continue
        ties -= c == bound
        to = first + kept * WORDS
        p.cells[to] = p.cells[at]
        p.cells[to + 1] = c - bound // 2
        p.cells[to + 2] = p.cells[at + 2]
        kept += 1
    for at in range(first, first + kept * WORDS):  # … into its second half …
        p.cells[at + half * WORDS] = p.cells[at]
    for at in range(first, first + half * WORDS, WORDS):
        p.cells[at] = -1
    p.size[h] = half
    p.used[h] = 0
    for at in range(first + half * WORDS, first + (half + kept) * WORDS, WORDS):  # … and home
        put(p, h, p.cells[at], p.cells[at + 1], p.cells[at + 2])
    release(p.free, p.state, p.cells, WORDS, start + half, size_class(half))
    p.state[REFUSED] += held - kept
    if p.lead[h] >= 0:
        p.lead[h] = -2 - p.lead[h]


@kernel()
def strongest(values: I32, first: int, count: int, step: int, keep: int) -> tuple[int, int]:
    """Which of the values, none below zero, stay where only `keep` of them may.

    Returns:
        A bound, the greatest value that has to go (0: nothing has to), and how many that equal it
        stay nevertheless; all greater ones do.
    """
    low, high = 0, 0
    for e in range(count):
        high = max(high, values[first + e * step])
    while low < high:  # the least value that has no more than `keep` above it
        middle = (low + high) // 2
        if _above(values, first, count, step, middle) <= keep:
            high = middle
        else:
            low = middle + 1
    return low, keep - _above(values, first, count, step, low) if low else 0


@kernel()
def _above(values: I32, first: int, count: int, step: int, bound: int) -> int:
    found = 0
    for e in range(count):
        found += values[first + e * step] > bound
    return found
