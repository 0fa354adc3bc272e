"""Changes: a partition's state is its first change, and every later one merged into it.

Merging is associative and needs the arrays alone, so checkpoint files can be merged anywhere, by
anyone, in any grouping: see `online.state` for their form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from online import strings
from online.arrays import I32, I64, U8, U32
from online.histories import KINDS
from online.kernels import kernel

Arrays = dict[str, npt.NDArray[Any]]
Given = Mapping[str, npt.NDArray[Any]]

COLUMNS = ("users.hash", "users.last_active", "users.personalise")
STRINGS = ("users", "interests")
NEWEST = ("departed", "clock", "journal")


LOG = 100_000  # entries kept of a log


def joined(older: Given, newer: Given) -> Arrays:
    """The content of two files as one: a change per tenant, `<tenant>/<name>`, and logs.

    A log's newer entries follow the older ones; of all, the last LOG are kept.
    """
    found: Arrays = {}
    for name in {*older, *newer}:
        if "/" not in name:
            parts = [part[name] for part in (older, newer) if name in part]
            found[name] = np.concatenate(parts)[-LOG:]
    for tenant in {name.partition("/")[0] for name in (*older, *newer) if "/" in name}:
        both = merged(of_tenant(tenant, older), of_tenant(tenant, newer))
        found |= {f"{tenant}/{name}": array for name, array in both.items()}
    return found


def of_tenant(tenant: str, arrays: Given) -> Arrays:
    """The tenant's own arrays of a file."""
    prefix = f"{tenant}/"
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def merged(older: Given, newer: Given) -> Arrays:
    """The two changes as one.

    Raises:
        ValueError: `newer` does not follow `older`.
    """
    if "clock" not in older:  # a tenant who came later
        return dict(newer)
    if "clock" not in newer:
        return dict(older)
    slots = np.union1d(older["users.slot"], newer["users.slot"])
    old, new = _rows_of(slots, older), _rows_of(slots, newer)
    found: Arrays = {"users.slot": slots}
    for name in COLUMNS:
        found[name] = np.empty(len(slots), newer[name].dtype)
        found[name][new >= 0] = newer[name][new[new >= 0]]
        found[name][new < 0] = older[name][old[new < 0]]
    for name in STRINGS:
        found[f"{name}.bytes"], found[f"{name}.length"] = _strings(name, older, newer, old, new)
    return (
        found
        | _items(older, newer)
        | _histories(older, newer, old, new)
        | {name: newer[name] for name in NEWEST}
    )


def events_in(arrays: Given) -> int:
    """Interactions learned, summed from a whole state's statistics (negative ones included)."""
    if "clock" not in arrays:
        return 0
    counts = np.bincount(arrays["history.kinds"] & 7, minlength=KINDS)
    return int(counts.sum() + arrays["departed"].sum())


def users_in(arrays: Given) -> int:
    """Users in a whole state."""
    return int(np.count_nonzero(arrays["users.length"] >= 0)) if "clock" in arrays else 0


def items_in(arrays: Given) -> list[str]:
    """Items that the users of a whole state interacted with."""
    if "clock" not in arrays:
        return []
    names = item_names(arrays)
    counts = np.bincount(arrays["history.items"], minlength=len(names))
    return [name for name, n in zip(names, counts.tolist(), strict=True) if n]


def item_names(arrays: Given) -> list[str]:
    """The item table of a whole state."""
    return [name or "" for name in strings.unpacked(arrays["items.bytes"], arrays["items.length"])]


def _rows_of(slots: I32, arrays: Given) -> I64:
    """Where each slot is among the arrays' rows, -1 where it is not."""
    rows = np.full(len(slots), -1, np.int64)
    rows[np.searchsorted(slots, arrays["users.slot"])] = np.arange(len(arrays["users.slot"]))
    return rows


def _strings(name: str, older: Given, newer: Given, old: I64, new: I64) -> tuple[U8, I32]:
    content = np.concatenate([older[f"{name}.bytes"], newer[f"{name}.bytes"]])
    length = np.concatenate([older[f"{name}.length"], newer[f"{name}.length"]])
    rows = np.where(new >= 0, new + len(older[f"{name}.length"]), old)
    return strings.chosen(content, strings.starts(length), length, rows), length[rows]


def _items(older: Given, newer: Given) -> Arrays:
    first, known = int(older["items.first"][0]), len(older["items.length"])
    if int(newer["items.first"][0]) != first + known:
        raise ValueError("a change is missing between two: their item tables do not meet")
    return {
        "items.first": older["items.first"],
        "items.bytes": np.concatenate([older["items.bytes"], newer["items.bytes"]]),
        "items.length": np.concatenate([older["items.length"], newer["items.length"]]),
    }


def _histories(older: Given, newer: Given, old: I64, new: I64) -> Arrays:
    keep, added, taken = (np.zeros(len(old), np.int32) for _ in range(3))
    there = old >= 0
    keep[there] = older["history.keep"][old[there]]
    taken[there] = older["history.added"][old[there]]
    again = new >= 0
    stays = newer["history.keep"][new[again]]
    # Of what the older one added, as much stays as the newer one keeps beyond the older's own.
    taken[again] = np.where(there[again], np.maximum(stays - keep[again], 0), 0)
    keep[again] = np.where(there[again], np.minimum(keep[again], stays), stays)
    added[:] = taken
    added[again] += newer["history.added"][new[again]]
    entries = int(added.sum(dtype=np.int64))
    found: Arrays = {"history.keep": keep, "history.added": added}
    places = (_places(older), _places(newer))
    for name, dtype in (("items", np.int32), ("clocks", np.uint32), ("kinds", np.uint8)):
        out = np.empty(entries, dtype)
        _join(
            old, new, taken, added, *places,
            older[f"history.{name}"], newer[f"history.{name}"], out,
        )  # fmt: skip
        found[f"history.{name}"] = out
    return found


def _places(arrays: Given) -> I64:
    added = arrays["history.added"].astype(np.int64)
    return np.cumsum(added) - added


@kernel(nogil=True)
def _join(
    old: I64, new: I64, taken: I32, added: I32, old_at: I64, new_at: I64,
    old_heap: I32 | U32 | U8, new_heap: I32 | U32 | U8, out: I32 | U32 | U8,
) -> None:  # fmt: skip
    """Per row: what is taken of the older heap, then what the newer one added."""
    at = 0
    for r in range(len(old)):
        for e in range(taken[r]):
            out[at] = old_heap[old_at[old[r]] + e]
            at += 1
        for e in range(added[r] - taken[r]):
            out[at] = new_heap[new_at[new[r]] + e]
            at += 1
