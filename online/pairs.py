"""Pairs: the arrays of the sparse pair statistics; what they mean and how they are filled is in
`online.cooccurrence`, how their heaviest entries are kept in `online.leaders`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import F32, I32, I64, grown
from online.blocks import SIZE_CLASSES
from online.kernels import kernel

SCALE = 1024
DECAY = 0.8
SMOOTHING = 20.0  # μ of the Dirichlet prior of the transitions
CONTENT_PRIOR = 20.0  # μ_c, of an item whose texts say something (see `online.content`)
NEIGHBOURS = 20  # k < 20
TRANSITIONS = 12  # k < 12
# Half of SCALE, because the kinds' weights are counted in halves.
DECAYS = np.rint(SCALE / 2 * DECAY ** np.arange(NEIGHBOURS)).astype(np.int32)
# Click 1, purchase 2, positive comment 1.5, neutral 1, negative 0.
HALVES = np.array([2, 4, 3, 2, 0])
WORDS = 3  # key, C, T
SMALLEST = 3
LEAST_CLASS = 6  # hashed rows of all items may have so long a block, whatever dense rows took
DENSE = -1
PROMOTE = 6  # a row with a sixth of the width in use becomes dense …
DEMOTE = 12  # … and sparse again when the catalogue outgrew it
FULL = 2**31 - 2**20

LEADERS = 128  # pairs kept in order beside a longer row
NO_LEADERS = -1

TOP, ROWS, REFUSED, CLOSED, BLOCKS, HAND, LONGEST, BEYOND = range(8)


class Pairs(NamedTuple):
    """Pair statistics of all items.

    Attributes:
        start: int64[items], the row's block in `cells`, or its number in `dense`.
        size: int32[items], entries of the block (power of two), 0 for none, DENSE.
        used: int32[items], pairs in the row.
        out: int64[items], R in units of 1/SCALE.
        cells: int32[entries · 3], key (-1: empty), C, T.
        dense: int32[rows, 2, width], C and T.
        free: int64[SIZE_CLASSES], heads of the lists of free blocks, see `online.blocks`.
        lead: int32[items], the row's block in `leaders`, NO_LEADERS, or −2 − block where the block
            has to be made anew.
        leaders: int32[blocks · LEADERS · 3], as in `cells`, see `online.leaders`.
        state: int64[8], TOP of the cells, dense ROWS in use, pairs REFUSED or given up for want of
            room, CLOSED where there is no more memory, BLOCKS of leaders in use; of `reclaiming`:
            the row that the HAND points at, entries that the LONGEST row has at most, and one
            BEYOND the last row that ever had a block.
    """

    start: I64
    size: I32
    used: I32
    out: I64
    cells: I32
    dense: I32
    free: I64
    lead: I32
    leaders: I32
    state: I64


def new_pairs(items: int, entries: int = 1 << 16, rows: int = 32) -> Pairs:
    """Empty statistics with room for `items`."""
    return Pairs(
        np.zeros(items, np.int64),
        np.zeros(items, np.int32),
        np.zeros(items, np.int32),
        np.zeros(items, np.int64),
        np.zeros(entries * WORDS, np.int32),
        np.zeros((rows, 2, max(1024, items)), np.int32),
        np.full(SIZE_CLASSES, -1, np.int64),
        np.full(items, NO_LEADERS, np.int32),
        np.zeros(64 * LEADERS * WORDS, np.int32),
        np.zeros(8, np.int64),
    )


def with_cells(p: Pairs, entries: int) -> Pairs:
    """Room for at least `entries` hash entries."""
    have = len(p.cells) // WORDS
    return p if entries <= have else p._replace(cells=grown(p.cells, entries * WORDS))


def with_room(p: Pairs, most: int, least: int) -> Pairs:
    """Room for one more interaction; where that is not to be had the pairs are CLOSED.

    Args:
        most: entries of 12 bytes, those that dense rows take included.
        least: of them, hash entries whatever dense rows have taken.
    """
    p = _with_leaders(p)
    have, left = len(p.cells) // WORDS, most - entries_of(p)
    rows = _rows_more(p, left)
    if left <= 0 or rows < 0:
        p.state[CLOSED] = 1
        return with_cells(p, min(least, most))
    largest = max(int(p.size.max()), 64)
    # A block of 2^c begins at a multiple of that: twice as much for what is left out before it.
    cells = int(p.state[TOP]) + (NEIGHBOURS + 2) * 4 * largest
    if cells > have:
        left -= rows * p.dense[0].size // WORDS
        p = with_cells(p, have + min(max(cells, have * 3 // 2) - have, left))
    return p._replace(dense=grown(p.dense, len(p.dense) + rows)) if rows else p


def entries_of(p: Pairs) -> int:
    """Entries that the arrays have room for, dense rows counted by their memory."""
    return (len(p.cells) + p.dense.size) // WORDS


def _rows_more(p: Pairs, left: int) -> int:
    """Dense rows to add, where so many entries are left; -1: no room for those needed."""
    need, have = int(p.state[ROWS]) + NEIGHBOURS + 1, len(p.dense)
    if need <= have:
        return 0
    more = min(max(need, have * 3 // 2) - have, max(left, 0) * WORDS // p.dense[0].size)
    return more or -1


def _with_leaders(p: Pairs) -> Pairs:
    """Room for the leaders of one more interaction's rows."""
    need = (int(p.state[BLOCKS]) + NEIGHBOURS + 1) * LEADERS * WORDS
    have = len(p.leaders)
    return p if need <= have else p._replace(leaders=grown(p.leaders, max(need, have * 3 // 2)))


@kernel(inline="always")
def smoothed(out: I64, said: F32, h: int) -> float:
    """R_h + μ, clicks, and μ_c where the content of h says something.

    R is read as 0 where it is less: a colleague that holds items which stayed away here may take
    back more than was added here.

    Args:
        said: float32[items], above 0 where an item's content is a prior of its transitions.
    """
    clicks = max(out[h], 0) / SCALE + SMOOTHING
    return float(clicks + CONTENT_PRIOR if said[h] > 0 else clicks)
