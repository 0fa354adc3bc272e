"""Lists: the best items of a user, of somebody unknown, of declared interests, near an item."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from online import histories as hi
from online import learning, similar
from online import popularity as po
from online.arrays import F32
from online.interests import NOTHING, Nearest, fading
from online.partition import Partition
from online.shared import Shared
from online.topk import TopK, no_items

NOBODY = hi.new_histories(1, 8)


def user_list(shared: Shared, part: Partition, slot: int, k: int) -> TopK:
    """The list of a user we know; policy "blend", "interests" or "popular"."""
    length = int(part.histories.length[slot])
    wanted, fade = NOTHING, fading(length)
    if fade > 0 and (interests := part.interests_of(slot)):
        if length:
            wanted = shared.interests.nearest(shared, interests)
        elif (weights := shared.interests.weights(shared, interests)) is not None:
            return _by_interests(shared, weights, k)
    policy = "blend" if length else "popular"
    return _blended(shared, part.histories, slot, wanted, fade, k, policy)


def popular_list(shared: Shared, k: int) -> TopK:
    """The list of somebody unknown: the blend of the popularities."""
    return _blended(shared, NOBODY, 0, NOTHING, 0.0, k, "popular")


def similar_list(shared: Shared, item: str, k: int) -> TopK:
    """Available items that users took near this one, or that say the like; may be empty."""
    slot = shared.items.find(item)
    if slot < 0:
        return no_items("similar")
    items, best = np.zeros(k, np.int32), np.zeros(k, np.float32)
    count = similar.similar_items(shared.scanned, shared.model, slot, items, best)
    return _named(shared, items, best, count, "similar")


def _blended(
    shared: Shared, h: hi.Histories, slot: int, wanted: Nearest, fade: float, k: int, policy: str
) -> TopK:
    items, best = np.zeros(k, np.int32), np.zeros(k, np.float32)
    count = learning.list_user(
        shared.scanned, shared.model, h, slot, wanted.slots, wanted.weights, fade, items, best
    )
    return _named(shared, items, best, count, policy)


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


def _named(shared: Shared, slots: npt.NDArray[Any], best: F32, count: int, policy: str) -> TopK:
    names = [shared.items.name(slot) for slot in slots[:count].tolist()]
    return TopK(names, best[:count], policy)
