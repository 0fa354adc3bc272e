"""Exploration slots: the kernel that puts new items into the places of one list.

It runs for every list while there are new items, so the 64 draws of an item lie beside each other
and are looked at in vector lanes.
"""

from __future__ import annotations

import numpy as np

from online.arrays import F64, I64, U8
from online.kernels import kernel

DRAWS = 64
NEARNESS = 4.0


@kernel()
def choose(draws: F64, weights: F64, best: F64, chosen: I64) -> None:
    """chosen[d] = argmax_i θ_id w_i, the first of equals.

    Args:
        draws: float64[items, 64], θ; weights: float64[items].
        best: float64[64], scratch.
    """
    best[:] = -np.inf
    for i in range(len(weights)):
        for d in range(DRAWS):
            x = draws[i, d] * weights[i]
            better = x > best[d]
            best[d] = x if better else best[d]
            chosen[d] = i if better else chosen[d]


@kernel()
def fill_slots(
    rows: I64, near: F64, draws: F64, owned: U8, every: int, seed: int, order: I64, places: I64,
    shares: F64,
) -> int:  # fmt: skip
    """Put one new item into every `every` places of a list, near to what is in the list.

    Args:
        rows: int64[n], of each listed item its row in `near`, float64[rows, items]; -1: none.
            The first rows are those of the new items.
        draws: float64[items, 64]; owned: uint8[items], the user has it.
        order: int64[n], filled in: places of the list as it was, ~i for the new item i.
        places, shares: int64[slots], float64[slots], filled in: where, and with what propensity.

    Returns:
        How many slots were filled.
    """
    weights, best, chosen = np.ones(len(draws)), np.empty(DRAWS), np.empty(DRAWS, np.int64)
    for at in range(len(rows)):
        order[at] = at
        if rows[at] >= 0:
            weights += NEARNESS * near[rows[at]]
    found, shown = 0, 0
    for block in range(0, len(rows), every):
        place, draw = _chances(seed, block, every)
        if block + place >= len(rows):
            break
        for at in range(shown, block + place):
            if order[at] >= 0 and 0 <= rows[order[at]] < len(weights):
                weights[rows[order[at]]] = -1.0
        shown = block + place
        choose(draws, weights, best, chosen)
        while weights[chosen[draw]] >= 0 and owned[chosen[draw]]:
            weights[chosen[draw]] = -1.0
            choose(draws, weights, best, chosen)
        new = chosen[draw]
        if weights[new] < 0:
            break
        _insert(new, shown, rows, order)
        places[found], shares[found] = shown, np.sum(chosen == new) / DRAWS
        weights[new] = -1.0
        found += 1
    return found


@kernel()
def _insert(new: int, place: int, rows: I64, order: I64) -> None:
    """Put a new item into a place; what it was in before, or the last item, goes."""
    end = len(order) - 1
    for at in range(place, end):
        if order[at] >= 0 and rows[order[at]] == new:
            end = at
    for at in range(end, place, -1):
        order[at] = order[at - 1]
    order[place] = ~new


@kernel()
def _chances(seed: int, block: int, every: int) -> tuple[int, int]:
    """The slot's place in its block, and its draw: SplitMix64 (Steele et al. 2014) of the seed."""
    z = np.uint64(seed) + np.uint64(block + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return int((z & np.uint64(0xFFFFFFFF)) % np.uint64(every)), int(
        (z >> np.uint64(32)) % np.uint64(DRAWS)
    )
