"""Interests: what users declare, matched with the topics and the words of items.

    w(i) = Σ_t r_t(i) / √(Σ_j r_t(j)²)

over the declared t; r_t(i) is 1 where item i has the topic t. What is nobody's topic is read as
text and as a skill: r is then its TF-IDF cosine with what the item says.

They are a history that the user does not have yet, and fade as he gets one: without any interaction
his list is popularity × w; after n of them log(1 + 30 w / max w) · .4 · .85ⁿ is added to the blend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from online import popularity as po
from online.arrays import F32, I32, I64
from online.content_terms import terms_of

if TYPE_CHECKING:
    from online.shared import Shared

NEAREST = 128  # items of an interest, most popular first, that the blend hears of
MOST_NEAREST = 384  # of all interests of a user
LAST = 20  # interactions after which interests no longer count
AT_FIRST, KEPT = 0.4, 0.85
LEAST_COSINE = 0.05
REFRESH = 1_000  # interactions after which popularity has moved
MOST_KEPT = 4_096  # interests whose items are kept


class Nearest(NamedTuple):
    """The items of an interest, or of several one after the other.

    Attributes:
        slots: int32[n]; weights: float32[n], their part of w.
    """

    slots: I32
    weights: F32


NOTHING = Nearest(np.zeros(0, np.int32), np.zeros(0, np.float32))


def fading(length: int) -> float:
    """How much interests count beside a history of that length."""
    return AT_FIRST * KEPT**length if length < LAST else 0.0


class Interests:
    """Finds the items of declared interests, and keeps what it found for a while."""

    def __init__(self) -> None:
        self._kept: dict[str, Nearest] = {}
        self._as_of: tuple[int, ...] = ()

    def nearest(self, shared: Shared, interests: Sequence[str]) -> Nearest:
        """For each interest its most popular items; an item may come more than once."""
        self._refresh(shared)
        different = dict.fromkeys(interests)
        most = max(1, min(NEAREST, MOST_NEAREST // max(len(different), 1)))
        found = [self._nearest(shared, each) for each in different]
        if len(found) == 1:
            return found[0]
        return Nearest(
            np.concatenate([NOTHING.slots, *(each.slots[:most] for each in found)]),
            np.concatenate([NOTHING.weights, *(each.weights[:most] for each in found)]),
        )

    def weights(self, shared: Shared, interests: Sequence[str]) -> F32 | None:
        """w of every item, float32[items]; None where no item meets any interest."""
        weights = np.zeros(shared.room, np.float32)
        for each in dict.fromkeys(interests):
            slots, theirs = _relevant(shared, each)
            weights[slots] += theirs
        return weights if weights.any() else None

    def _refresh(self, shared: Shared) -> None:
        clock = int(shared.model.clock[0]) // REFRESH
        as_of = (clock, shared.catalogue.changes, shared.content.changes)
        if as_of != self._as_of or len(self._kept) >= MOST_KEPT:
            self._kept.clear()
            self._as_of = as_of

    def _nearest(self, shared: Shared, interest: str) -> Nearest:
        found = self._kept.get(interest)
        if found is None:
            slots, weights = _relevant(shared, interest)
            p = shared.model.popularity
            score = weights * (p.fading[po.H4000, slots] / p.step[po.H4000] + 1e-3)
            best = np.argsort(-score, kind="stable")[:NEAREST]
            found = Nearest(slots[best].astype(np.int32), weights[best])
            self._kept[interest] = found
        return found


def _relevant(shared: Shared, interest: str) -> tuple[I64, F32]:
    """The items that an interest is about, and its part of their w."""
    members = shared.catalogue.members(interest)
    if members:
        slots = np.sort(np.fromiter(members, np.int64, len(members)))
        return slots, np.full(len(slots), len(slots) ** -0.5, np.float32)
    cosines = shared.content.like(terms_of(interest, [f"skill={interest}"]))
    slots = np.flatnonzero(cosines > LEAST_COSINE)
    r = cosines[slots]
    return slots, r / max(float(np.linalg.norm(r)), 1e-9)
