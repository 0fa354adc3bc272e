"""Lists: the best items of a user, of somebody unknown, of declared interests, near an item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from online import histories as hi
from online import listing, similar
from online import popularity as po
from online.arrays import F32, I32, I64
from online.interests import NOTHING, Nearest, fading
from online.kernels import kernel
from online.partition import Partition
from online.shared import Shared
from online.topk import TopK, no_items

NOBODY = hi.new_histories(1, 8)


def user_lists(shared: Shared, part: Partition, users: Sequence[str], k: int) -> list[TopK]:
    """The lists of users of one partition; "popular" for who is unknown or not personalised."""
    slots = part.users.found(users)
    known = (slots >= 0) & (part.personalise[slots] > 0)
    if known.all():
        return _own_lists(shared, part, slots, k)
    listed = iter(_own_lists(shared, part, slots[known], k))
    return [next(listed) if own else popular_list(shared, k) for own in known.tolist()]


def _own_lists(shared: Shared, part: Partition, slots: I64, k: int) -> list[TopK]:
    """Policies "blend", "interests" or "popular"."""
    lengths = part.histories.length[slots].tolist()
    fades = [fading(length) for length in lengths]
    wanted = [NOTHING] * len(slots)
    new: dict[int, F32] = {}
    for at in np.flatnonzero(part.interests[slots] >= 0).tolist():
        interests = part.interests_of(int(slots[at]))
        if lengths[at] and fades[at] > 0:
            wanted[at] = shared.interests.nearest(shared, interests)
        elif not lengths[at] and (w := shared.interests.weights(shared, interests)) is not None:
            new[at] = w
    policies = ["blend" if length else "popular" for length in lengths]
    listed = _blended(shared, part.histories, slots, wanted, fades, k, policies)
    for at, weights in new.items():
        listed[at] = _by_interests(shared, weights, k)
    return listed


def has(part: Partition, slot: int, item: int) -> bool:
    """Whether the item is in the user's history."""
    h = part.histories
    return item >= 0 and bool(_holds(h.last, h.length, h.before, h.items, slot, item))


@kernel()
def _holds(last: I32, length: I32, before: I32, items: I32, user: int, item: int) -> bool:
    """Four arrays of eleven, because to look at an array costs more than the search."""
    n, chunk = length[user], last[user]
    while n > 0:
        held = (n - 1) % hi.CHUNK + 1
        for entry in range(chunk * hi.CHUNK, chunk * hi.CHUNK + held):
            if items[entry] == item:
                return True
        n -= held
        chunk = before[chunk]
    return False


def popular_list(shared: Shared, k: int) -> TopK:
    """The list of somebody unknown: the blend of the popularities."""
    nobody = np.zeros(1, np.int64)
    return _blended(shared, NOBODY, nobody, [NOTHING], [0.0], k, ["popular"])[0]


def similar_list(shared: Shared, item: str, k: int) -> TopK:
    """Available items that users took near this one, or that say the like; may be empty."""
    slot = shared.items.find(item)
    if slot < 0:
        return no_items("similar")
    items, best = np.zeros(k, np.int32), np.zeros(k, np.float32)
    count = similar.similar_items(shared.scanned, shared.model, slot, items, best)
    return _named(shared, items, best, count, "similar")


def _blended(
    shared: Shared, h: hi.Histories, slots: I64, wanted: Sequence[Nearest], fades: Sequence[float],
    k: int, policies: Sequence[str],
) -> list[TopK]:  # fmt: skip
    n = len(slots)
    some = [each for each in wanted if each is not NOTHING] or [NOTHING]
    asked = listing.Asked(
        slots,
        some[0].slots if len(some) == 1 else np.concatenate([each.slots for each in some]),
        some[0].weights if len(some) == 1 else np.concatenate([each.weights for each in some]),
        np.array([len(each.slots) for each in wanted], np.int64).cumsum(),
        np.array(fades),
        np.zeros(n, np.int64),
        np.full((n, k), -1, np.int32),
    )
    items, best = np.zeros((n, k), np.int32), np.zeros((n, k), np.float32)
    any_led = listing.list_users(shared.scanned, shared.held, h, asked, items, best)
    near = _near(shared, asked.by) if any_led else [()] * n
    found = zip(items, best, asked.found.tolist(), policies, near, strict=True)
    return [_named(shared, *each) for each in found]


def _near(shared: Shared, by: I32) -> list[Sequence[tuple[int, str]]]:
    """For each list: (place, item of the user's) of what is there for what it says."""
    near: list[Sequence[tuple[int, str]]] = []
    for row in by.tolist():
        places = [at for at, slot in enumerate(row) if slot >= 0]
        names = shared.items.names([row[at] for at in places])
        near.append(list(zip(places, names, strict=True)))
    return near


def _by_interests(shared: Shared, weights: F32, k: int) -> TopK:
    """Popularity × w of the declared interests, then the popular ones."""
    p, n = shared.model.popularity, shared.items.size
    share = p.fading[po.H4000, :n] / p.step[po.H4000]
    available = shared.catalogue.available[:n] > 0
    wanted = available & ((weights[:n] > 0) | (p.counts[:n] > 0))
    score = weights[:n] * (share + 1e-3) + 1e-6 * share
    score = np.where(wanted, np.log(score + 1e-12), -np.inf)
    order = np.argsort(-score, kind="stable")[:k]
    order = order[score[order] > -np.inf]
    return _named(shared, order, score[order].astype(np.float32), len(order), "interests")


def _named(
    shared: Shared, slots: npt.NDArray[Any], best: F32, count: int, policy: str,
    near: Sequence[tuple[int, str]] = (),
) -> TopK:  # fmt: skip
    return TopK(shared.items.names(slots[:count].tolist()), best[:count], policy, near)
