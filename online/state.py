"""State: a partition and the shared model as plain arrays, and back.

Strings are `<name>.bytes` (utf-8), `<name>.start` and `<name>.length` (-1: free slot). Items are
numbered by the item table of the same state, so that any learner can read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from online import histories as hi
from online.arrays import I64
from online.factors import LENGTH
from online.ids import Ids
from online.learning import Model
from online.partition import REFUSED, Partition, user_hash

Arrays = dict[str, npt.NDArray[Any]]
FACTOR_ROWS = ("e_in", "e_out", "bias", "g_in", "g_out")
FACTOR_WHOLE = ("attention", "attention_g", "random", "pushed")


def events_in(arrays: Mapping[str, npt.NDArray[Any]]) -> int:
    """Interactions learned, summed from a partition state alone (negative comments included)."""
    return int(arrays["counts"].sum(dtype=np.int64) + arrays["departed"].sum())


def users_in(arrays: Mapping[str, npt.NDArray[Any]]) -> int:
    """Users in a partition state."""
    return int(np.count_nonzero(arrays["users.length"] >= 0))


def items_in(arrays: Mapping[str, npt.NDArray[Any]]) -> list[str]:
    """Items that the users of a partition state interacted with."""
    counted = arrays["counts"].sum(axis=0) > 0
    names = Ids.names_in(arrays, "items")
    return [
        name
        for name, any_event in zip(names, counted, strict=False)
        if name is not None and any_event
    ]


def position_in(arrays: Mapping[str, npt.NDArray[Any]]) -> int:
    """How many increments the partition's journal had (0 where deltas were not exchanged)."""
    return int(arrays["journal"][0]) if "journal" in arrays else 0


def partition_arrays(part: Partition, items: Ids, clock: I64) -> Arrays:
    """Copies of a partition's state."""
    h, users = part.histories, part.users.size
    lengths = h.length[:users].astype(np.int32)
    entries = int(lengths.sum(dtype=np.int64))
    kept_items, stamps = np.empty(entries, np.int32), np.empty(entries, np.int64)
    hi.gather(h, users, kept_items, stamps)
    return {
        **_named("users", part.users),
        **_named("items", items),
        **_named("interest_sets", part.interest_sets),
        "history.length": lengths,
        "history.items": kept_items,
        "history.stamps": stamps,
        "users.last_active": part.last_active[:users].copy(),
        "users.personalise": part.personalise[:users].copy(),
        "users.interests": part.interests[:users].copy(),
        "counts": part.counts[:, : items.size].copy(),
        "departed": part.departed.copy(),
        "clock": clock.copy(),
        "journal": np.array([part.journal.position if part.journal is not None else 0]),
    }


def partition_from(
    arrays: Mapping[str, npt.NDArray[Any]], slots: I64, room_for_items: int
) -> Partition:
    """A partition as it was saved; its interactions are not in the item statistics yet.

    Args:
        slots: int64[items of the state], the item slots here, -1 for an item that is refused:
            interactions with it leave the history and count as departed.
    """
    part = Partition(room_for_items)
    names = Ids.names_in(arrays, "users")
    users = len(names)
    part.users = Ids.restored(names)
    part.reserve_users(users)
    part.hashes[:users] = [user_hash(name) if name is not None else 0 for name in names]
    part.last_active[:users] = arrays["users.last_active"]
    part.personalise[:users] = arrays["users.personalise"]
    sets = Ids.restored(Ids.names_in(arrays, "interest_sets"))
    part.restore_interests(sets, arrays["users.interests"])
    part.departed[:] = arrays["departed"]
    _load_histories(part, arrays, slots, users)
    return part


def _load_histories(
    part: Partition, arrays: Mapping[str, npt.NDArray[Any]], slots: I64, users: int
) -> None:
    items = slots[arrays["history.items"]].astype(np.int32)
    stamps = arrays["history.stamps"].astype(np.int64)
    lengths = arrays["history.length"].astype(np.int32)
    kept = items >= 0
    if not kept.all():
        owners = np.repeat(np.arange(users), lengths)[kept]
        part.departed[REFUSED] += len(items) - int(kept.sum())
        items, stamps = items[kept], stamps[kept]
        lengths = np.bincount(owners, minlength=users).astype(np.int32)
    part.histories = hi.with_entries(part.histories, hi.entries_needed(lengths))
    hi.scatter(part.histories, lengths, items, stamps)
    np.add.at(part.counts, (stamps & 7, items), 1)


def shared_arrays(model: Model, items: Ids) -> Arrays:
    """Copies of the factors, the recent interactions and the blend."""
    f, n = model.factors, items.size
    arrays: Arrays = {f"factors.{name}": getattr(f, name)[:n].copy() for name in FACTOR_ROWS}
    arrays |= {f"factors.{name}": getattr(f, name).copy() for name in FACTOR_WHOLE}
    pushed = min(int(f.pushed[0]), len(f.recent))
    arrays["factors.recent"] = f.recent[:pushed].copy()
    arrays["factors.recent_context"] = f.recent_context[:pushed].copy()
    arrays["factors.recent_user"] = f.recent_user[:pushed].copy()
    arrays["blend.weights"] = model.blend.weights.copy()
    arrays["blend.squared"] = model.blend.squared.copy()
    return arrays | _named("items", items)


def load_shared_arrays(model: Model, arrays: Mapping[str, npt.NDArray[Any]], slots: I64) -> None:
    """Take over what `shared_arrays` saved; `slots` as in `partition_from`.

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
    model.blend.weights[:] = arrays["blend.weights"]
    model.blend.squared[:] = arrays["blend.squared"]


def _named(prefix: str, ids: Ids) -> Arrays:
    return {f"{prefix}.{name}": array for name, array in ids.arrays().items()}
