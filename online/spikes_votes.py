"""One vote: an author, or a cluster of authors, counts once per key in a day.

Comments of one author or thread are not independent: a flood of them would look like a spike. A
cluster is therefore one bounded observation. The table is a bounded cache, not a ledger: where it
overflows, the oldest vote is forgotten, and an author may count once more.
"""

from __future__ import annotations

import numpy as np

from online.arrays import I64, U64
from online.kernels import kernel

SMALLEST, LARGEST = 1 << 10, 1 << 17
PROBES = 8
WINDOW = 288  # steps of five minutes

Table = tuple[U64, I64]


def new_table(size: int = SMALLEST) -> Table:
    """(uint64[size] hash of key and author, int64[size] step of the vote); step -1: free."""
    return np.zeros(size, np.uint64), np.full(size, -1, np.int64)


@kernel()
def mixed(key: int, author: int) -> int:
    """A well-spread hash of both (the finaliser of SplitMix64)."""
    z = np.uint64(author) + np.uint64(key + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))  # type: ignore[return-value]


@kernel()
def votes(table: Table, key: int, author: int, step: int) -> bool:
    """Whether the author has a vote on the key at this step; if so it is used up."""
    if author == 0:
        return True
    tags, steps = table
    tag = mixed(key, author)
    mask = np.uint64(len(tags) - 1)
    oldest = np.uint64(0)
    age = np.int64(-1)
    for probe in range(PROBES):
        at = (tag + np.uint64(probe)) & mask
        if tags[at] == tag and steps[at] > step - WINDOW and steps[at] >= 0:
            return False
        if step - steps[at] > age:
            age = step - steps[at]
            oldest = at
    tags[oldest] = tag
    steps[oldest] = step
    return True


@kernel()
def _enter(table: Table, tags: U64, steps: I64) -> None:
    mask = np.uint64(len(table[0]) - 1)
    for i in range(len(tags)):
        for probe in range(PROBES):
            at = (tags[i] + np.uint64(probe)) & mask
            if table[1][at] < 0 or probe == PROBES - 1:
                table[0][at] = tags[i]
                table[1][at] = steps[i]
                break


def live(table: Table, step: int) -> Table:
    """The votes that still bar another, in the table's order."""
    keep = table[1] > max(step - WINDOW, -1)
    return table[0][keep], table[1][keep]


def fitted(table: Table, step: int, coming: int) -> Table:
    """The table, or a larger one where `coming` more votes would crowd it."""
    size = len(table[0])
    if size >= LARGEST or (4 * coming <= size and 4 * np.count_nonzero(table[1] >= 0) <= size):
        return table
    kept = live(table, step)
    return table if (fit := _size(len(kept[0]) + coming)) <= size else restored(*kept, size=fit)


def restored(tags: U64, steps: I64, size: int = 0) -> Table:
    """A table that holds these votes."""
    table = new_table(size or _size(len(tags)))
    _enter(table, tags, steps)
    return table


def _size(entries: int) -> int:
    size = SMALLEST
    while size < LARGEST and 2 * entries > size:
        size *= 2
    return size
