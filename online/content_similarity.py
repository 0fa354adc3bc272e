"""Content similarity: the kernels that hold one item against all others and keep the lists.

Holding it against all others takes milliseconds in a large catalogue and changes nothing (`survey`,
which leaves other threads their turn); the lists then change at one go, in microseconds (`settle`).

    s(x, y) = ½ cos(TF-IDF_x, TF-IDF_y) + ½ cos(z_x, z_y),  below 0: 0

In two scripts words cannot meet: there it is cos(z_x, z_y), if that is more.
TF-IDF: (1 + log count) · idf, a term of one item alone left out. z: the embedding's coordinates
(`content_axes`) in eight bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import F32, I8, I32, I64, U8, grown
from online.content import NEAREST, ON, U16, Content
from online.content_terms import BITS, BUCKETS, MOST_COUNTED
from online.kernels import kernel

UNITS = 65_535.0
BY_ITEM = ("placed", "script", "start", "room", "size", "norm", "dense", "unit", "inverse")


class Vectors(NamedTuple):
    """What similarities are computed from, of all items.

    Attributes:
        placed: uint8[items], whether the item is in the lists; script: uint8[items], its text's.
        start: int64[items]; room, size: int32[items]: the item's terms in `terms`.
        terms: int32[n], bucket | count << 18.
        norm: float32[items], 1 / length of the TF-IDF vector, 0 for none.
        idf, query: float32[2^18]; `query` is room to compute in, zero between calls.
        tf: float32[16], 1 + log(count).
        dense: int8[items, width], coordinates in units of `unit`: float32[items].
        inverse: float32[items], 1 / length of `dense`, 0 for none.
    """

    placed: U8
    script: U8
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


class Survey(NamedTuple):
    """What a survey found of one item.

    Attributes:
        query: float32[2^18], room to compute in, zero between calls.
        similar: float32[items], the item's similarity with all others.
        near: int32[1, 50]; cosine: uint16[1, 50]: its own list, see `Content`.
        rows: int32[items], the first found[0] are the lists that it is in or must enter.
        found: int64[1].
    """

    query: F32
    similar: F32
    near: I32
    cosine: U16
    rows: I32
    found: I64


def new_survey(items: int) -> Survey:
    """Room for one."""
    return Survey(
        np.zeros(BUCKETS, np.float32),
        np.zeros(items, np.float32),
        np.full((1, NEAREST), -1, np.int32),
        np.zeros((1, NEAREST), np.uint16),
        np.zeros(items, np.int32),
        np.zeros(1, np.int64),
    )


def new_vectors(items: int) -> Vectors:
    """Nothing known."""
    counts = np.maximum(np.arange(MOST_COUNTED + 1), 1)
    return Vectors(
        np.zeros(items, np.uint8),
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


@kernel(nogil=True)
def _similarities(n: int, slot: int, v: Vectors, query: F32, out: F32) -> None:
    """out[i] = s(slot, i) for i < n; 0 for items that are not placed."""
    first, end = v.start[slot], v.start[slot] + v.size[slot]
    terms, tf, dense, size = v.terms, v.tf, v.dense, v.size
    for at in range(first, end):
        bucket = terms[at] & (BUCKETS - 1)
        query[bucket] = 0.5 * v.norm[slot] * tf[terms[at] >> BITS] * v.idf[bucket] ** 2
    mine, inverse, script = dense[slot], np.float32(0.5) * v.inverse[slot], v.script[slot]
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
            meant = np.float32(dot) * inverse * v.inverse[i]
            shared = max(shared + meant, 2 * meant) if v.script[i] != script else shared + meant
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


@kernel(nogil=True)
def survey(n: int, slot: int, v: Vectors, c: Content, s: Survey) -> None:
    """Find where an item belongs: its own list, and the lists that it is in or must enter.

    Reads only what nobody but the index changes, so that it may run in another thread.
    """
    similar, near, last, placed = s.similar, c.near, NEAREST - 1, v.placed[slot] != 0
    _similarities(n, slot, v, s.query, similar)
    _own_list(n, s)
    rows = 0
    for i in range(n):
        if i == slot:
            continue
        holds = 0
        if placed:
            for e in range(NEAREST):
                holds |= near[i, e] == slot
        if holds or in_units(similar[i]) > c.cosine[i, last]:
            s.rows[rows] = i
            rows += 1
    s.found[0] = rows


@kernel(nogil=True)
def survey_own(n: int, slot: int, v: Vectors, s: Survey) -> None:
    """The item's own list alone."""
    _similarities(n, slot, v, s.query, s.similar)
    _own_list(n, s)


@kernel(nogil=True)
def _own_list(n: int, s: Survey) -> None:
    s.near[:] = -1
    s.cosine[:] = 0
    for i in range(n):
        _enter(s.near, s.cosine, 0, i, in_units(s.similar[i]))


@kernel()
def settle(slot: int, says: bool, v: Vectors, c: Content, s: Survey) -> None:
    """Put an item where a survey found that it belongs; `says`: it says anything at all."""
    for at in range(s.found[0]):
        i = s.rows[at]
        _leave(c, i, slot)
        if says:
            _enter(c.near, c.cosine, i, slot, in_units(s.similar[i]))
        _sum_up(c, i)
    settle_own(slot, c, s)
    c.state[ON] += int(says) - int(v.placed[slot])
    v.placed[slot] = says


@kernel()
def settle_own(slot: int, c: Content, s: Survey) -> None:
    """Take over the item's own list."""
    c.near[slot] = s.near[0]
    c.cosine[slot] = s.cosine[0]
    _sum_up(c, slot)


@kernel()
def _leave(c: Content, h: int, slot: int) -> None:
    """Take an item out of the list of h, if it is there."""
    for e in range(NEAREST):
        if c.near[h, e] == slot:
            for at in range(e, NEAREST - 1):
                c.near[h, at] = c.near[h, at + 1]
                c.cosine[h, at] = c.cosine[h, at + 1]
            c.near[h, NEAREST - 1] = -1
            c.cosine[h, NEAREST - 1] = 0
            return


@kernel(inline="always")
def in_units(similar: float) -> int:
    """A similarity as it is kept; 0 for none."""
    return int(min(1.0, max(0.0, similar)) * UNITS + 0.5)


@kernel(inline="always")
def _enter(near: I32, cosine: U16, h: int, i: int, x: int) -> None:
    """Put item i where it belongs in list h, if it is near enough."""
    at = NEAREST - 1
    if x <= cosine[h, at]:
        return
    while at > 0 and cosine[h, at - 1] < x:
        near[h, at] = near[h, at - 1]
        cosine[h, at] = cosine[h, at - 1]
        at -= 1
    near[h, at] = i
    cosine[h, at] = x


@kernel()
def _sum_up(c: Content, h: int) -> None:
    total = np.float32(0)
    for e in range(NEAREST):
        x = np.float32(c.cosine[h, e]) * np.float32(1 / UNITS)
        total += x * x * x
    c.total[h] = total
