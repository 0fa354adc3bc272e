"""The candidates of one prefix, and the sums that its neighbours vote them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import F32, I8, I32, U8
from online.kernels import kernel

SUMS = 6
KNN, NEAR, AFTER, NEXT, BEFORE_LAST, PLAIN = range(SUMS)
NEVER = 127
BLOCK = 32  # scores whose maximum is taken at once, in vector lanes


class Votes(NamedTuple):
    """Room to gather in; between two prefixes only `held` has to be as it was.

    Attributes:
        items: int32[items], the candidates; place: int32[items], where an item stands among them.
        sums: float32[items, 6], by place of the candidate.
        near: int32[sessions], sessions that share an item; near_place: int32[sessions].
        alike: float32[sessions], how alike, by place of the session.
        held: int8[items], age in the prefix of the newest visit, NEVER for none.
        rarity: float32[items], inverse session frequencies.
    """

    items: I32
    place: I32
    sums: F32
    near: I32
    near_place: I32
    alike: F32
    held: I8
    rarity: F32


def new_votes(items: int, sessions: int) -> Votes:
    """Room for a stream's items and sessions."""
    return Votes(
        np.zeros(items, np.int32),
        np.zeros(items, np.int32),
        np.zeros((items, SUMS), np.float32),
        np.zeros(sessions, np.int32),
        np.zeros(sessions, np.int32),
        np.zeros(sessions, np.float32),
        np.full(items, NEVER, np.int8),
        np.ones(items, np.float32),
    )


@kernel()
def find_place(v: Votes, count: int, item: int) -> int:
    """The place of an item among `count` candidates, -1 where it is none."""
    at = v.place[item]
    return at if at < count and v.items[at] == item else -1


@kernel()
def add_candidate(v: Votes, count: int, item: int) -> int:
    """Make the item candidate number `count`, without votes; returns its place."""
    v.place[item] = count
    v.items[count] = item
    v.sums[count] = 0
    return count


@kernel()
def add_best(v: Votes, count: int, scores: F32, allowed: U8, best: I32, kept: F32) -> int:
    """Make the len(best) // 2 allowed items with the highest scores candidates, too.

    Args:
        scores: float32[items]; allowed: uint8[items].
        best: int32[2k], kept: float32[2k], scratch.

    Returns:
        The number of candidates.
    """
    found, least = 0, np.float32(-np.inf)
    for block in range(0, len(scores), BLOCK):
        end = min(len(scores), block + BLOCK)
        if not _highest(scores, block, end) > least:
            continue
        for i in range(block, end):
            if scores[i] > least and allowed[i]:
                best[found] = i
                kept[found] = scores[i]
                found += 1
                if found == len(best):
                    found, least = _halve(best, kept, found)
    if found > len(best) // 2:
        found, least = _halve(best, kept, found)
    for i in best[:found]:
        if find_place(v, count, i) < 0:
            add_candidate(v, count, i)
            count += 1
    return count


@kernel(fastmath=True)  # a maximum of NaNs is of no interest
def _highest(scores: F32, start: int, end: int) -> float:
    highest = scores[start]
    for i in range(start, end):
        highest = max(highest, scores[i])
    return float(highest)


@kernel()
def _halve(best: I32, kept: F32, found: int) -> tuple[int, float]:
    """Keep at most len(best) // 2, those with the highest scores; how many, and the least score."""
    wanted = len(best) // 2
    least = np.partition(kept[:found], found - wanted)[found - wanted]
    left = 0
    for a in range(found):
        if kept[a] >= least and left < wanted:
            best[left] = best[a]
            kept[left] = kept[a]
            left += 1
    return left, least
