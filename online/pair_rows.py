"""Pair rows: a sparse row of the pair statistics in its block, and how it grows.

A block is a hash table with open addressing and linear probing, three quarters full at most.
"""

from __future__ import annotations

from online.blocks import release, size_class, take
from online.kernels import kernel, leaf
from online.pairs import BEYOND, DENSE, LONGEST, PROMOTE, ROWS, WORDS, Pairs


@kernel(inline="always")
def home(key: int, size: int) -> int:
    """The place in a row's block where an entry is looked for first."""
    return (key * 0x9E3779B1 >> 7) & (size - 1)


@kernel(inline="always")
def slot(p: Pairs, start: int, size: int, key: int) -> int:
    """Word index of the key's entry, or of the empty entry where it belongs."""
    at = home(key, size)
    while True:
        word = (start + at) * WORDS
        if p.cells[word] == key or p.cells[word] < 0:
            return int(word)
        at = (at + 1) & (size - 1)


@leaf()
def put(p: Pairs, h: int, key: int, c: int, t: int) -> None:
    """Add an entry that row h does not have; there must be a place for it."""
    word = slot(p, p.start[h], p.size[h], key)
    p.cells[word] = key
    p.cells[word + 1] = c
    p.cells[word + 2] = t
    p.used[h] += 1


@leaf()
def new_block(p: Pairs, h: int, c: int) -> None:
    """Give row h an empty block of 2^c entries; the caller has made sure that there is room."""
    start = take(p.free, p.state, p.cells, WORDS, c)
    p.start[h] = start
    p.size[h] = 1 << c
    p.state[LONGEST] = max(p.state[LONGEST], 1 << c)
    p.state[BEYOND] = max(p.state[BEYOND], h + 1)
    for at in range(start, start + (1 << c)):
        p.cells[at * WORDS] = -1


@leaf()
def becomes_dense(p: Pairs, h: int) -> bool:
    """Whether the row is dense when it grows next."""
    return bool(p.used[h] * PROMOTE >= p.dense.shape[2] and p.state[ROWS] < len(p.dense))


@leaf()
def grow_row(p: Pairs, h: int) -> None:
    """Twice the block, or dense; pairs that fell back to zero are dropped on the way."""
    old, size = p.start[h], int(p.size[h])
    if becomes_dense(p, h):
        row = p.state[ROWS]
        p.state[ROWS] += 1
        p.start[h] = row
        p.size[h] = DENSE
        for at in range(old * WORDS, (old + size) * WORDS, WORDS):
            if p.cells[at] >= 0:
                p.dense[row, 0, p.cells[at]] = p.cells[at + 1]
                p.dense[row, 1, p.cells[at]] = p.cells[at + 2]
    else:
        new_block(p, h, size_class(size) + 1)
        p.used[h] = 0
        for at in range(old * WORDS, (old + size) * WORDS, WORDS):
            if p.cells[at] >= 0 and p.cells[at + 1] != 0:
                put(p, h, p.cells[at], p.cells[at + 1], p.cells[at + 2])
    release(p.free, p.state, p.cells, WORDS, old, size_class(size))
