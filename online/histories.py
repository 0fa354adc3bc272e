"""Histories: every user's kept interactions, oldest first, in one flat array per partition.

An entry is an item (int32) and a stamp (int64): clock · 8 + kind. Kinds, see `online.learner.Kind`:
0 click, 1 purchase, 2 positive, 3 neutral, 4 negative comment.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import I32, I64, SIZE_CLASSES, grown, release, size_class, take
from online.kernels import kernel

NEGATIVE = 4
KINDS = 5
CONTEXT = 50  # items of a context; its weights .8^k make the rest invisible
SMALLEST = 3  # a first block holds 2^3 entries


class Histories(NamedTuple):
    """All users of one partition.

    Attributes:
        start: int64[users], first entry of the user's block.
        length: int64[users], entries in use.
        size: int32[users], entries of the block, a power of two, 0 for none.
        dislikes: int32[users], negative entries.
        items: int32[entries].
        stamps: int64[entries].
        free: int64[SIZE_CLASSES], heads of the lists of free blocks.
        top: int64[1], first entry never used.
    """

    start: I64
    length: I64
    size: I32
    dislikes: I32
    items: I32
    stamps: I64
    free: I64
    top: I64


def new_histories(users: int = 64, entries: int = 1024) -> Histories:
    """Room for `users` without history."""
    return Histories(
        np.zeros(users, np.int64),
        np.zeros(users, np.int64),
        np.zeros(users, np.int32),
        np.zeros(users, np.int32),
        np.zeros(entries, np.int32),
        np.zeros(entries, np.int64),
        np.full(SIZE_CLASSES, -1, np.int64),
        np.zeros(1, np.int64),
    )


def with_users(h: Histories, users: int) -> Histories:
    """The same with room for more users."""
    return h._replace(
        start=grown(h.start, users),
        length=grown(h.length, users),
        size=grown(h.size, users),
        dislikes=grown(h.dislikes, users),
    )


def with_entries(h: Histories, entries: int) -> Histories:
    """The same with room for more entries."""
    entries = max(entries, len(h.items))
    return h._replace(items=grown(h.items, entries), stamps=grown(h.stamps, entries))


@kernel()
def room_needed(h: Histories, user: int) -> int:
    """Entries that the next append may take from the top."""
    if h.length[user] < h.size[user]:
        return 0
    return max(1 << SMALLEST, 2 * int(h.size[user]))


@kernel()
def append(h: Histories, user: int, item: int, kind: int, clock: int) -> None:
    """Add the newest entry; moves the history to a block twice the size where it is full."""
    n, size = int(h.length[user]), int(h.size[user])
    if n == size:
        wanted = size_class(size) + 1 if size else SMALLEST
        at = take(h.free, h.top, h.items, 1, wanted)
        start = h.start[user]
        for e in range(n):
            h.items[at + e] = h.items[start + e]
            h.stamps[at + e] = h.stamps[start + e]
        if size:
            clear(h, user)
        h.start[user] = at
        h.size[user] = 1 << wanted
        h.length[user] = n
    at = h.start[user] + n
    h.items[at] = item
    h.stamps[at] = clock * 8 + kind
    h.length[user] = n + 1
    if kind == NEGATIVE:
        h.dislikes[user] += 1


@kernel()
def clear(h: Histories, user: int) -> None:
    """Give the user's block back, overwritten; does not touch `dislikes`."""
    start, size = h.start[user], int(h.size[user])
    for e in range(start, start + size):
        h.items[e] = 0
        h.stamps[e] = 0
    if size:
        release(h.free, h.items, 1, start, size_class(size))
    h.length[user] = 0
    h.size[user] = 0


@kernel()
def mark_seen(h: Histories, user: int, seen: I64, mark: int) -> None:
    """seen[item] = mark for every item the user ever interacted with, disliked ones included."""
    start = h.start[user]
    for e in range(start, start + h.length[user]):
        seen[h.items[e]] = mark


@kernel()
def find_disliked(h: Histories, user: int, upto: int, disliked: I64, mark: int, out: I32) -> int:
    """Mark the disliked items among the first `upto` entries; the newest few go to `out`.

    Returns:
        Items written to `out`.
    """
    count = 0
    if h.dislikes[user] == 0:
        return count
    start = h.start[user]
    for e in range(start + upto - 1, start - 1, -1):
        if (h.stamps[e] & 7) == NEGATIVE and disliked[h.items[e]] != mark:
            disliked[h.items[e]] = mark
            if count < len(out):
                out[count] = h.items[e]
                count += 1
    return count


@kernel()
def find_context(
    h: Histories, user: int, upto: int, disliked: I64, listed: I64, mark: int, out: I32
) -> int:
    """Newest distinct items that are not disliked, of the first `upto` entries.

    Args:
        disliked: int64[items], as `find_disliked` left it under the same mark.
        listed: int64[items], scratch.
        out: int32[limit], filled newest first.

    Returns:
        Items found, at most len(out).
    """
    count = 0
    start = h.start[user]
    for e in range(start + upto - 1, start - 1, -1):
        item = h.items[e]
        if disliked[item] != mark and listed[item] != mark:
            listed[item] = mark
            out[count] = item
            count += 1
            if count == len(out):
                break
    return count


def cut(h: Histories, user: int, longest: int) -> tuple[I32, I64]:
    """Cut a history to its newest three quarters of `longest`, and an eighth of older dislikes.

    Returns:
        Items and stamps of the entries that left.
    """
    start, n = int(h.start[user]), int(h.length[user])
    items, stamps = h.items[start : start + n], h.stamps[start : start + n]
    older = max(0, n - longest * 3 // 4)
    disliked = np.flatnonzero((stamps[:older] & 7) == NEGATIVE)
    keep = np.arange(n) >= older
    keep[disliked[max(0, len(disliked) - longest // 8) :]] = True
    left = items[~keep], stamps[~keep]
    kept = n - len(left[0])
    items[:kept], stamps[:kept] = items[keep], stamps[keep]
    h.length[user] = kept
    h.dislikes[user] -= np.count_nonzero((left[1] & 7) == NEGATIVE)
    return left


@kernel()
def gather(h: Histories, users: int, items: I32, stamps: I64) -> None:
    """Write the histories one after the other, in user order: the form that is saved."""
    at = 0
    for user in range(users):
        start = h.start[user]
        for e in range(h.length[user]):
            items[at] = h.items[start + e]
            stamps[at] = h.stamps[start + e]
            at += 1


@kernel()
def scatter(h: Histories, lengths: I32, items: I32, stamps: I64) -> None:
    """The reverse of `gather`, into empty histories with room for `entries_needed`."""
    at = 0
    for user in range(len(lengths)):
        n = lengths[user]
        if n == 0:
            continue
        c = max(SMALLEST, size_class(n))
        start = take(h.free, h.top, h.items, 1, c)
        h.start[user] = start
        h.size[user] = 1 << c
        h.length[user] = n
        for e in range(n):
            h.items[start + e] = items[at + e]
            h.stamps[start + e] = stamps[at + e]
            h.dislikes[user] += (stamps[at + e] & 7) == NEGATIVE
        at += n


def entries_needed(lengths: I32) -> int:
    """Entries of the blocks that histories of these lengths take."""
    classes = np.ceil(np.log2(np.maximum(lengths, 1)))
    blocks = 2 ** np.maximum(classes, SMALLEST).astype(np.int64)
    return int(blocks[lengths > 0].sum())
