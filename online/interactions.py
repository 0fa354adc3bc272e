"""Interactions: what the learner is told, and what it answers about its own foresight."""

from __future__ import annotations

import enum
from typing import NamedTuple

from online.arrays import I32


class Kind(enum.IntEnum):
    """What happened; the last three are comments, by their sentiment."""

    CLICK = 0
    PURCHASE = 1
    POSITIVE = 2
    NEUTRAL = 3
    NEGATIVE = 4


class Learned(NamedTuple):
    """Prequential ranks, each taken before the interaction was learned.

    Attributes:
        ranks: int32[n], 1-based, among the known and available items that the user does not have,
            ties against us; 0: not evaluated (he has the item, or a negative comment); MISS: the
            item was never seen, is unavailable, or its score is not finite.
        popularity_ranks: int32[n], the same by plain popularity.
    """

    ranks: I32
    popularity_ranks: I32


class LeftOut(NamedTuple):
    """What a learner was told of and does not hold, since its start.

    Attributes:
        users_dropped: users who were silent longest.
        items_refused: how often an item found no slot because max_items is reached.
        items_dropped: items of states loaded that were taken longest ago (see `online.crowding`).
        pairs_refused: pairs given up because max_pairs is reached (see `online.reclaiming`).
    """

    users_dropped: int
    items_refused: int
    items_dropped: int
    pairs_refused: int
