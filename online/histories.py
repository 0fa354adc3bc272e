"""Histories: every user's kept interactions, in chunks of eight linked from the newest back.

Chunks are all of one size, so that what one user gives back fits every other, and a history that
grows is never moved. An entry takes nine bytes: an item (int32), the clock (37 bits: uint32, and
the upper five bits of a byte) and the kind (the lower three; see `online.interactions.Kind`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import I32, I64, U8, U32, grown
from online.kernels import kernel

NEGATIVE = 4
KINDS = 5
CONTEXT = 50  # items of a context; its weights .8^k make the rest invisible
CHUNK = 8

TOP, FREE, CHANGES = 0, 1, 2


class Histories(NamedTuple):
    """All users of one partition.

    Attributes:
        last: int32[users], the user's newest chunk, -1 for none.
        length: int32[users], entries.
        dislikes: int32[users], negative entries.
        saved: int32[users], the oldest entries that the last snapshot holds.
        changed: uint8[users], whether anything of the user changed since.
        changes: int32[users], the changed users, as many as `state` says.
        before: int32[chunks], the next older chunk of a history, or the next free one.
        items: int32[chunks · 8]; clocks: uint32[chunks · 8]; kinds: uint8[chunks · 8].
        state: int64[3], first chunk never used (TOP), head of the FREE ones, number of CHANGES.
    """

    last: I32
    length: I32
    dislikes: I32
    saved: I32
    changed: U8
    changes: I32
    before: I32
    items: I32
    clocks: U32
    kinds: U8
    state: I64


def new_histories(users: int = 64, chunks: int = 128) -> Histories:
    """Room for `users` without history."""
    return Histories(
        np.full(users, -1, np.int32),
        np.zeros(users, np.int32),
        np.zeros(users, np.int32),
        np.zeros(users, np.int32),
        np.zeros(users, np.uint8),
        np.zeros(users, np.int32),
        np.zeros(chunks, np.int32),
        np.zeros(chunks * CHUNK, np.int32),
        np.zeros(chunks * CHUNK, np.uint32),
        np.zeros(chunks * CHUNK, np.uint8),
        np.array([0, -1, 0]),
    )


def with_users(h: Histories, users: int) -> Histories:
    """The same with room for more users."""
    return h._replace(
        last=grown(h.last, users, fill=-1),
        length=grown(h.length, users),
        dislikes=grown(h.dislikes, users),
        saved=grown(h.saved, users),
        changed=grown(h.changed, users),
        changes=grown(h.changes, users),
    )


def with_chunks(h: Histories, chunks: int) -> Histories:
    """The same with room for more chunks."""
    if chunks <= len(h.before):
        return h
    return h._replace(
        before=grown(h.before, chunks),
        items=grown(h.items, chunks * CHUNK),
        clocks=grown(h.clocks, chunks * CHUNK),
        kinds=grown(h.kinds, chunks * CHUNK),
    )


@kernel()
def has_room(h: Histories, user: int) -> bool:
    """Whether the next append finds a place without growing the arrays."""
    inside = h.length[user] % CHUNK != 0
    return bool(inside or h.state[FREE] >= 0 or h.state[TOP] < len(h.before))


@kernel(nogil=True)
def kind_of(h: Histories, at: int) -> int:
    """The kind of the entry at a place."""
    return int(h.kinds[at] & 7)


@kernel()
def mark_changed(h: Histories, user: int) -> None:
    """The next snapshot will hold the user anew."""
    if h.changed[user] == 0:
        h.changed[user] = 1
        h.changes[h.state[CHANGES]] = user
        h.state[CHANGES] += 1


@kernel(nogil=True)
def put(h: Histories, user: int, item: int, clock: int, kind: int) -> None:
    """Add the newest entry; the caller has made sure that there is room."""
    n = h.length[user]
    if n % CHUNK == 0:
        chunk = h.state[FREE]
        if chunk >= 0:
            h.state[FREE] = h.before[chunk]
        else:
            chunk = h.state[TOP]
            h.state[TOP] += 1
        h.before[chunk] = h.last[user]
        h.last[user] = chunk
    at = h.last[user] * CHUNK + n % CHUNK
    h.items[at] = item
    h.clocks[at] = clock & 0xFFFFFFFF
    h.kinds[at] = kind | clock >> 32 << 3
    h.length[user] = n + 1
    if kind == NEGATIVE:
        h.dislikes[user] += 1


@kernel()
def append(h: Histories, user: int, item: int, kind: int, clock: int) -> None:
    """Add the newest entry of an interaction just learned."""
    put(h, user, item, clock, kind)
    mark_changed(h, user)


@kernel()
def clear(h: Histories, user: int) -> None:
    """Give the user's chunks back, overwritten."""
    chunk = h.last[user]
    while chunk >= 0:
        for at in range(chunk * CHUNK, (chunk + 1) * CHUNK):
            h.items[at] = 0
            h.clocks[at] = 0
            h.kinds[at] = 0
        older = h.before[chunk]
        h.before[chunk] = h.state[FREE]
        h.state[FREE] = chunk
        chunk = older
    h.last[user] = -1
    h.length[user] = 0
    h.dislikes[user] = 0
    h.saved[user] = 0
    mark_changed(h, user)


@kernel()
def mark_seen(h: Histories, user: int, seen: I64, mark: int) -> None:
    """seen[item] = mark for every item the user ever interacted with, disliked ones included."""
    chunk, n = h.last[user], h.length[user]
    while n > 0:
        first = (n - 1) // CHUNK * CHUNK
        for e in range(n - first):
            seen[h.items[chunk * CHUNK + e]] = mark
        n = first
        chunk = h.before[chunk]


@kernel()
def find_disliked(h: Histories, user: int, disliked: I64, mark: int, out: I32) -> int:
    """Mark the disliked items; the newest few go to `out`.

    Returns:
        Items written to `out`.
    """
    count = 0
    left = h.dislikes[user]
    chunk, n = h.last[user], h.length[user]
    while left > 0:
        n -= 1
        at = chunk * CHUNK + n % CHUNK
        if h.kinds[at] & 7 == NEGATIVE:
            left -= 1
            item = h.items[at]
            if disliked[item] != mark:
                disliked[item] = mark
                if count < len(out):
                    out[count] = item
                    count += 1
        if n % CHUNK == 0:
            chunk = h.before[chunk]
    return count


@kernel()
def find_context(h: Histories, user: int, disliked: I64, listed: I64, mark: int, out: I32) -> int:
    """Newest distinct items that are not disliked.

    Args:
        disliked: int64[items], as `find_disliked` left it under the same mark.
        listed: int64[items], scratch.
        out: int32[limit], filled newest first.

    Returns:
        Items found, at most len(out).
    """
    count = 0
    chunk, n = h.last[user], h.length[user]
    while n > 0 and count < len(out):
        n -= 1
        item = h.items[chunk * CHUNK + n % CHUNK]
        if disliked[item] != mark and listed[item] != mark:
            listed[item] = mark
            out[count] = item
            count += 1
        if n % CHUNK == 0:
            chunk = h.before[chunk]
    return count


@kernel(nogil=True)
def read(h: Histories, user: int, first: int, items: I32, clocks: I64, kinds: U8) -> int:
    """Copy the entries from `first` on, oldest first, to the start of the arrays; their number."""
    chunk, n = h.last[user], h.length[user]
    while n > first:
        n -= 1
        at = chunk * CHUNK + n % CHUNK
        items[n - first] = h.items[at]
        clocks[n - first] = np.int64(h.clocks[at]) | np.int64(h.kinds[at] >> 3) << 32
        kinds[n - first] = h.kinds[at] & 7
        if n % CHUNK == 0:
            chunk = h.before[chunk]
    return int(max(0, h.length[user] - first))
