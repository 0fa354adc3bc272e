"""Blocks: a buddy allocator (Knowlton 1965) for rows that grow inside one flat array of entries.

A block has 2^c entries and begins at a multiple of that. What is given back is joined with its
other half where that is free, too, so that small blocks become large ones again. The first entry of
a free block holds −2 − c, the next free block of its class and the one before; that of a block in
use must begin with a number from −1 on.
"""

from __future__ import annotations

from online.arrays import I32, I64
from online.kernels import kernel, leaf

SIZE_CLASSES = 40
FREE = -2  # and less


@kernel()
def size_class(entries: int) -> int:
    """Smallest c with 2^c ≥ entries."""
    c = 0
    while (1 << c) < entries:
        c += 1
    return c


@leaf()
def has_block(free: I64, top: I64, entries: int, c: int) -> bool:
    """Whether `take` finds a block of 2^c in an array of so many entries."""
    for k in range(c, len(free)):
        if free[k] >= 0:
            return True
    size = 1 << c
    return bool((top[0] + size - 1) // size * size + size <= entries)


@leaf()
def take(free: I64, top: I64, links: I32, stride: int, c: int) -> int:
    """Offset, in entries, of a block of 2^c: one given back, cut from a larger one, or the top.

    The caller has made sure that there is room.

    Args:
        free: int64[SIZE_CLASSES], first free block of each class, -1 for none.
        top: int64[1 or more], first entry that was never used.
        links: the flat array itself, of `stride` ≥ 3 words an entry.
    """
    k = c
    while k < len(free) and free[k] < 0:
        k += 1
    if k == len(free):
        while top[0] & ((1 << c) - 1):
            gap, k = top[0], 0
            while not gap >> k & 1:
                k += 1
            top[0] += 1 << k
            release(free, top, links, stride, gap, k)
        at = top[0]
        top[0] += 1 << c
        return int(at)
    at = free[k]
    _unlink(free, links, stride, at, k)
    while k > c:
        k -= 1
        _link(free, links, stride, at + (1 << k), k)
    return int(at)


@leaf()
def release(free: I64, top: I64, links: I32, stride: int, at: int, c: int) -> None:
    """Give a block of 2^c entries back."""
    while True:
        other = at ^ (1 << c)
        if other + (1 << c) > top[0] or links[other * stride] != FREE - c:
            break
        _unlink(free, links, stride, other, c)
        at = min(at, other)
        c += 1
    _link(free, links, stride, at, c)


@leaf()
def _link(free: I64, links: I32, stride: int, at: int, c: int) -> None:
    links[at * stride] = FREE - c
    links[at * stride + 1] = free[c]
    links[at * stride + 2] = -1
    if free[c] >= 0:
        links[free[c] * stride + 2] = at
    free[c] = at


@leaf()
def _unlink(free: I64, links: I32, stride: int, at: int, c: int) -> None:
    after, before = links[at * stride + 1], links[at * stride + 2]
    if before >= 0:
        links[before * stride + 1] = after
    else:
        free[c] = after
    if after >= 0:
        links[after * stride + 2] = before
