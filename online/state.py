"""State: a partition and the shared model as plain arrays, and back.

A partition's state is a row per user slot, in order, and heaps that rows point into by length:

    users.slot, users.length (-1: the slot is free), users.hash, users.last_active,
    users.personalise, interests.length, history.keep, history.added    one entry a row
    users.bytes, interests.bytes                                        strings, utf-8
    history.items, history.clocks, history.kinds                        entries, oldest first

A *change* has the same form with the changed slots only; `history.keep` says how many of the oldest
entries stay as they were, and `history.added` how many follow in the heap. A whole state keeps 0.
Items are numbered by a table that begins at the slot `items.first` (see `online.changes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from online import histories as hi
from online import strings
from online.arrays import I32, I64, U8, U32
from online.factors import LENGTH
from online.guard import Guard
from online.ids import Ids
from online.kernels import kernel
from online.learning import Model
from online.partition import BETWEEN_INTERESTS, REFUSED, Partition
from online.steps import Steps

Arrays = dict[str, npt.NDArray[Any]]
FACTOR_ROWS = ("e_in", "e_out", "bias", "g_in", "g_out")
FACTOR_RECENT = ("recent", "recent_context", "recent_user")
COPIED_AT_ONCE = 4_000_000  # bytes, some 2 ms
FACTOR_WHOLE = ("attention", "attention_g", "random", "pushed")


def position_in(arrays: Mapping[str, npt.NDArray[Any]]) -> int:
    """How many increments the partition's journal had (0 where deltas were not exchanged)."""
    return int(arrays["journal"][0]) if "journal" in arrays else 0


def partition_arrays(part: Partition, items: Ids, clock: I64) -> Arrays:
    """Copies of a partition's state, whole."""
    slots = np.arange(part.users.size)
    return _rows(part, slots, np.zeros(len(slots), np.int32)) | _table(
        part, items, clock, items.size, 0
    )


def partition_changes(part: Partition, items: Ids, clock: I64, size: int | None = None) -> Arrays:
    """Copies of what changed since the last call.

    Where no user changed, no item is told: nothing refers to a new one, and the caller may then
    leave the change out without making a hole between the others.

    Args:
        size: of the item table as far as the users refer to it; None: all of it.
    """
    h = part.histories
    slots = np.sort(h.changes[: h.state[hi.CHANGES]]).astype(np.int64)
    if size is None:
        size = items.size
    if not len(slots):
        size = part.items_saved
    found = _rows(part, slots, h.saved[slots]) | _table(part, items, clock, size, part.items_saved)
    mark_saved(part, size)
    return found


def mark_saved(part: Partition, items: int) -> None:
    """The next changes begin here."""
    h = part.histories
    slots = h.changes[: h.state[hi.CHANGES]]
    h.saved[slots] = h.length[slots]
    h.changed[slots] = 0
    h.state[hi.CHANGES] = 0
    part.items_saved = items


def _rows(part: Partition, slots: I64, keep: I32) -> Arrays:
    h = part.histories
    added = h.length[slots] - keep
    entries = int(added.sum(dtype=np.int64))
    heap = np.empty(entries, np.int32), np.empty(entries, np.uint32), np.empty(entries, np.uint8)
    _gather(h, slots, keep, *heap)
    names, lengths = part.users.saved(slots)
    interests, interest_lengths = part.interests_saved(slots)
    return {
        "users.slot": slots.astype(np.int32),
        "users.bytes": names,
        "users.length": lengths,
        "users.hash": part.hashes[slots],
        "users.last_active": part.last_active[slots],
        "users.personalise": part.personalise[slots],
        "interests.bytes": interests,
        "interests.length": interest_lengths,
        "history.keep": keep,
        "history.added": added,
        "history.items": heap[0],
        "history.clocks": heap[1],
        "history.kinds": heap[2],
    }


def _table(part: Partition, items: Ids, clock: I64, size: int, first: int) -> Arrays:
    names, lengths = items.saved(np.arange(first, size))
    return {
        "items.first": np.array([first]),
        "items.bytes": names,
        "items.length": lengths,
        "departed": part.departed.copy(),
        "clock": clock.copy(),
        "journal": np.array([part.journal.position if part.journal is not None else 0]),
    }


@kernel()
def _gather(h: hi.Histories, slots: I64, keep: I32, items: I32, clocks: U32, kinds: U8) -> None:
    """The entries from keep[row] on, oldest first, one history after the other."""
    end = 0
    for r in range(len(slots)):
        user = slots[r]
        n = h.length[user]
        end += n - keep[r]
        at, chunk = end, h.last[user]
        while n > keep[r]:
            n -= 1
            at -= 1
            e = chunk * hi.CHUNK + n % hi.CHUNK
            items[at] = h.items[e]
            clocks[at] = h.clocks[e]
            kinds[at] = h.kinds[e]
            if n % hi.CHUNK == 0:
                chunk = h.before[chunk]


def partition_from(
    arrays: Mapping[str, npt.NDArray[Any]], slots: I64, room_for_items: int
) -> Partition:
    """A partition as it was saved; its interactions are not in the item statistics yet.

    Args:
        slots: int64[items of the state], the item slots here, -1 for an item that is refused:
            interactions with it leave the history and count as departed.
    """
    part = Partition(room_for_items)
    lengths = arrays["users.length"]
    part.users = Ids.restored(arrays["users.bytes"], lengths)
    part.reserve_users(len(lengths))
    users = len(lengths)
    part.hashes[:users] = arrays["users.hash"]
    part.last_active[:users] = arrays["users.last_active"]
    part.personalise[:users] = arrays["users.personalise"]
    if len(arrays["interests.bytes"]):
        declared = strings.unpacked(arrays["interests.bytes"], arrays["interests.length"])
        for slot in np.flatnonzero(arrays["interests.length"] > 0).tolist():
            part.set_interests(slot, (declared[slot] or "").split(BETWEEN_INTERESTS))
    part.departed[:] = arrays["departed"]
    added = arrays["history.added"]
    h = hi.with_chunks(part.histories, int((-(-added // hi.CHUNK)).sum(dtype=np.int64)))
    heap = arrays["history.items"], arrays["history.clocks"], arrays["history.kinds"]
    part.departed[REFUSED] += _scatter(h, added, slots, *heap, part.counts)
    part.histories = h
    return part


@kernel(nogil=True)
def _scatter(
    h: hi.Histories, added: I32, slots: I64, items: I32, clocks: U32, kinds: U8, counts: I32
) -> int:
    """The reverse of `_gather`, into empty histories; returns the entries that were refused."""
    at = refused = 0
    for user in range(len(added)):
        for e in range(at, at + added[user]):
            item = slots[items[e]]
            if item < 0:
                refused += 1
                continue
            clock = np.int64(clocks[e]) | np.int64(kinds[e] >> 3) << 32
            hi.put(h, user, item, clock, np.int64(kinds[e] & 7))
            counts[kinds[e] & 7, item] += 1
        at += added[user]
        h.changed[user] = 1
        h.changes[user] = user
    h.state[hi.CHANGES] = len(added)
    return refused


def shared_copying(model: Callable[[], Model], items: Ids, out: Arrays) -> Steps:
    """Copy the factors, the recent interactions and the blend into `out`, in steps.

    Args:
        model: asked anew at every step, because arrays are replaced when they grow.
    """
    n = items.size
    out["items.bytes"], out["items.length"] = items.saved()
    f = model().factors
    pushed = min(int(f.pushed[0]), len(f.recent))
    out |= {f"factors.{name}": getattr(f, name).copy() for name in FACTOR_WHOLE}
    out["blend.weights"] = model().blend.weights.copy()
    out["blend.squared"] = model().blend.squared.copy()
    c = model().content
    out["content.weights"], out["content.squared"] = c.weights.copy(), c.squared.copy()
    out |= {f"guard.{name}": getattr(model().guard, name).copy() for name in Guard._fields}
    for names, rows in ((FACTOR_ROWS, n), (FACTOR_RECENT, pushed)):
        for name in names:
            whole = getattr(f, name)
            copy = out[f"factors.{name}"] = np.empty((rows, *whole.shape[1:]), whole.dtype)
            at_once = COPIED_AT_ONCE // (whole[:1].nbytes or 1)
            for first in range(0, rows, at_once):
                end = min(first + at_once, rows)
                copy[first:end] = getattr(model().factors, name)[first:end]
                yield None


def load_shared_arrays(model: Model, arrays: Mapping[str, npt.NDArray[Any]], slots: I64) -> None:
    """Take over what `shared_copying` saved; `slots` as in `partition_from`.

    Raises:
        ValueError: the arrays were made with other sizes.
    """
    f = model.factors
    if arrays["factors.e_in"].shape[1] != f.e_in.shape[1]:
        raise ValueError("the checkpoint's factors have another width: set factors accordingly")
    if arrays["blend.weights"].shape != model.blend.weights.shape:
        raise ValueError("the checkpoint's blend has other features")
    known = slots >= 0
    for name in FACTOR_ROWS:
        getattr(f, name)[slots[known]] = arrays[f"factors.{name}"][known]
    for name in FACTOR_WHOLE:
        getattr(f, name)[:] = arrays[f"factors.{name}"]
    mapped = np.append(slots, -1).astype(np.int32)  # -1 stays -1
    n = min(len(arrays["factors.recent"]), len(f.recent))
    f.recent[:] = -1
    f.recent[:n] = mapped[arrays["factors.recent"][:n]]
    f.recent_context[:n] = mapped[arrays["factors.recent_context"][:n]].reshape(n, LENGTH)
    f.recent_user[:n] = arrays["factors.recent_user"][:n]
    for part, mine in (("blend", model.blend), ("content", model.content)):
        kept = arrays.get(f"{part}.weights")  # an older checkpoint has none of content
        if kept is not None and kept.shape == mine.weights.shape:
            squared = arrays[f"{part}.squared"]
            sound = np.isfinite(kept) & np.isfinite(squared) & (squared >= 0)
            mine.weights[sound] = kept[sound]  # what is no number would stay none: it starts anew
            mine.squared[sound] = squared[sound]
    for name in Guard._fields:
        getattr(model.guard, name)[...] = arrays.get(f"guard.{name}", 0)
