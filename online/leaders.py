"""Leaders: the pairs of a long row that weigh most, kept in order while the row is added to.

A list looks at the rows of some twenty items. A row of thousands of pairs would make it slow, and
what a row knows least of never reaches the list: so every row longer than LEADERS has the LEADERS
pairs with the greatest C beside it. Adding keeps them exact; after something was taken out they
are made anew, from the row, when they are next needed.
"""

from __future__ import annotations

from online.arrays import I32
from online.kernels import leaf
from online.pairs import DENSE, LEADERS, NO_LEADERS, WORDS, Pairs

C, T = 1, 2  # words of an entry, after its key


@leaf()
def note(leaders: I32, lead: int, key: int, c: int, t: int) -> None:
    """The pair `key` has now the values c and t; neither fell.

    A block's entries (key, C, T; key -1 beyond the end) go by descending C and ascending key: they
    are a function of the row alone, whenever they were made.
    """
    first = lead * LEADERS * WORDS
    last = first + (LEADERS - 1) * WORDS
    if leaders[last + C] > c:  # it would have been here already, and further up
        return
    at = first
    while at < last and leaders[at] != key and leaders[at] >= 0:
        at += WORDS
    full = leaders[at] != key and leaders[at] >= 0
    if full and leaders[last + C] == c and leaders[last] < key:
        return
    while at > first:
        above = at - WORDS
        if leaders[above + C] > c or (leaders[above + C] == c and leaders[above] < key):
            break
        leaders[at] = leaders[above]
        leaders[at + C] = leaders[above + C]
        leaders[at + T] = leaders[above + T]
        at = above
    leaders[at] = key
    leaders[at + C] = c
    leaders[at + T] = t


@leaf()
def find_leaders(p: Pairs, h: int) -> int:
    """The block of row h's leaders, made anew where it has to be; NO_LEADERS for a short row."""
    if p.lead[h] < NO_LEADERS:
        _make(p, h)
    return int(p.lead[h])


@leaf()
def _make(p: Pairs, h: int) -> None:
    lead = -2 - p.lead[h]
    p.lead[h] = lead
    for at in range(lead * LEADERS * WORDS, (lead + 1) * LEADERS * WORDS, WORDS):
        p.leaders[at] = -1
        p.leaders[at + C] = 0
        p.leaders[at + T] = 0
    start, size = p.start[h], int(p.size[h])
    if size == DENSE:
        row = p.dense[start]
        for i in range(row.shape[1]):
            if row[0, i] > 0:
                note(p.leaders, lead, i, row[0, i], row[1, i])
        return
    for at in range(start * WORDS, (start + size) * WORDS, WORDS):
        if p.cells[at] >= 0 and p.cells[at + C] > 0:
            note(p.leaders, lead, p.cells[at], p.cells[at + C], p.cells[at + T])
