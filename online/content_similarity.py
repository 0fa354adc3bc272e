"""Content similarity: the kernels that hold one item against all others and keep the lists.

    s(x, y) = ½ cos(TF-IDF_x, TF-IDF_y) + ½ cos(z_x, z_y),  below 0: 0

TF-IDF: (1 + log count) · idf, a term of one item alone left out. z: the embedding's coordinates
(`content_axes`) in eight bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import F32, I8, I32, I64, U8, grown
from online.content import NEAREST, ON, Content
from online.content_terms import BITS, BUCKETS, MOST_COUNTED
from online.kernels import kernel

UNITS = 65_535.0
BY_ITEM = ("placed", "start", "room", "size", "norm", "dense", "unit", "inverse")


class Vectors(NamedTuple):
    """What similarities are computed from, of all items.

    Attributes:
        placed: uint8[items], whether the item is in the lists.
        start: int64[items]; room, size: int32[items]: the item's terms in `terms`.
        terms: int32[n], bucket | count << 18.
        norm: float32[items], 1 / length of the TF-IDF vector, 0 for none.
        idf, query: float32[2^18]; `query` is room to compute in, zero between calls.
        tf: float32[16], 1 + log(count).
        dense: int8[items, width], coordinates in units of `unit`: float32[items].
        inverse: float32[items], 1 / length of `dense`, 0 for none.
    """

    placed: U8
    start: I64
    room: I32
    size: I32
    terms: I32
    norm: F32
    idf: F32
    query: F32
    tf: F32
    dense: I8
    unit: F32
    inverse: F32


def new_vectors(items: int) -> Vectors:
    """Nothing known."""
    counts = np.maximum(np.arange(MOST_COUNTED + 1), 1)
    return Vectors(
        np.zeros(items, np.uint8),
        np.zeros(items, np.int64),
        np.zeros(items, np.int32),
        np.zeros(items, np.int32),
        np.zeros(1024, np.int32),
        np.zeros(items, np.float32),
        np.zeros(BUCKETS, np.float32),
        np.zeros(BUCKETS, np.float32),
        (1 + np.log(counts)).astype(np.float32),
        np.zeros((items, 0), np.int8),
        np.zeros(items, np.float32),
        np.zeros(items, np.float32),
    )


def with_items(v: Vectors, items: int) -> Vectors:
    """Room for more items."""
    return v._replace(**{name: grown(getattr(v, name), items) for name in BY_ITEM})


@kernel()
def weigh(slots: I64, v: Vectors) -> None:
    """The lengths of items' TF-IDF vectors by the idf of now."""
    for slot in slots:
        total = 0.0
        for at in range(v.start[slot], v.start[slot] + v.size[slot]):
            x = v.tf[v.terms[at] >> BITS] * v.idf[v.terms[at] & (BUCKETS - 1)]
            total += x * x
        v.norm[slot] = 1.0 / np.sqrt(total) if total > 0 else 0.0


@kernel()
def _similarities(n: int, slot: int, v: Vectors, out: F32) -> None:
    """out[i] = s(slot, i) for i < n; 0 for items that are not placed."""
    first, end = v.start[slot], v.start[slot] + v.size[slot]
    terms, query, tf, dense, size = v.terms, v.query, v.tf, v.dense, v.size
    for at in range(first, end):
        bucket = terms[at] & (BUCKETS - 1)
        query[bucket] = 0.5 * v.norm[slot] * tf[terms[at] >> BITS] * v.idf[bucket] ** 2
    mine, inverse = dense[slot], np.float32(0.5) * v.inverse[slot]
    for i in range(n):
        out[i] = 0
        if v.placed[i] == 0 or i == slot:
            continue
        shared = np.float32(0)
        for at in range(v.start[i], v.start[i] + size[i]):
            shared += query[terms[at] & (BUCKETS - 1)] * tf[terms[at] >> BITS]
        shared *= v.norm[i]
        if inverse > 0 and v.inverse[i] > 0:
            row, dot = dense[i], np.int32(0)
            for f in range(len(mine)):
                dot += np.int32(row[f]) * np.int32(mine[f])
            shared += np.float32(dot) * inverse * v.inverse[i]
        out[i] = shared
    for at in range(first, end):
        query[terms[at] & (BUCKETS - 1)] = 0


@kernel()
def cosines(text: I32, v: Vectors, out: F32) -> None:
    """out[i] = cos(TF-IDF of a text, of item i) for i < len(out); terms as items have them."""
    terms, query, tf, length = v.terms, v.query, v.tf, 0.0
    for term in text:
        x = tf[term >> BITS] * v.idf[term & (BUCKETS - 1)]
        length += x * x
        query[term & (BUCKETS - 1)] = x * v.idf[term & (BUCKETS - 1)]
    if length > 0:
        for i in range(len(out)):
            shared = np.float32(0)
            for at in range(v.start[i], v.start[i] + v.size[i]):
                shared += query[terms[at] & (BUCKETS - 1)] * tf[terms[at] >> BITS]
            out[i] = shared * v.norm[i] / np.sqrt(length)
    for term in text:
        query[term & (BUCKETS - 1)] = 0


@kernel()
def place(n: int, slot: int, v: Vectors, c: Content, similar: F32) -> None:
    """Put an item into the lists, its own and those of others to which it is near enough."""
    _clear(c, slot)
    _similarities(n, slot, v, similar)
    for i in range(n):
        if similar[i] > 0:
            _enter(c, slot, i, similar[i])
            if _enter(c, i, slot, similar[i]):
                _sum_up(c, i)
    _sum_up(c, slot)
    v.placed[slot] = 1
    c.state[ON] += 1


@kernel()
def renew(n: int, slot: int, v: Vectors, c: Content, similar: F32) -> None:
    """Make an item's own list anew."""
    _clear(c, slot)
    _similarities(n, slot, v, similar)
    for i in range(n):
        if similar[i] > 0:
            _enter(c, slot, i, similar[i])
    _sum_up(c, slot)


@kernel()
def leave(n: int, slot: int, v: Vectors, c: Content) -> None:
    """Take an item out of all lists."""
    if v.placed[slot] == 0:
        return
    v.placed[slot] = 0
    c.state[ON] -= 1
    _clear(c, slot)
    _sum_up(c, slot)
    for i in range(n):
        for e in range(NEAREST):
            if c.near[i, e] == slot:
                for at in range(e, NEAREST - 1):
                    c.near[i, at] = c.near[i, at + 1]
                    c.cosine[i, at] = c.cosine[i, at + 1]
                c.near[i, NEAREST - 1] = -1
                c.cosine[i, NEAREST - 1] = 0
                _sum_up(c, i)
                break


@kernel()
def _clear(c: Content, slot: int) -> None:
    c.near[slot, :] = -1
    c.cosine[slot, :] = 0


@kernel(inline="always")
def _enter(c: Content, h: int, i: int, similar: float) -> bool:
    """Put item i where it belongs in the list of h; whether it is near enough."""
    x = np.uint16(min(1.0, similar) * UNITS + 0.5)
    at = NEAREST - 1
    if c.cosine[h, at] >= x:
        return False
    while at > 0 and c.cosine[h, at - 1] < x:
        c.near[h, at] = c.near[h, at - 1]
        c.cosine[h, at] = c.cosine[h, at - 1]
        at -= 1
    c.near[h, at] = i
    c.cosine[h, at] = x
    return True


@kernel()
def _sum_up(c: Content, h: int) -> None:
    total = np.float32(0)
    for e in range(NEAREST):
        x = np.float32(c.cosine[h, e]) * np.float32(1 / UNITS)
        total += x * x * x
    c.total[h] = total
