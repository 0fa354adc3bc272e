"""What the sessions near a prefix say of its next item: six sums for every candidate.

For the prefix's latest nine distinct items h_k, weight .7^k, and their latest 500 sessions:
- from each such session the six items after h_k and the four before it, fading by .7 a place;
- VMIS-kNN: the 500 sessions most alike (sum of the weights they share) vote for their items,
  weighed by rarity, by the distance from the place where they last meet the prefix, and less for
  items before that place.
"""

from __future__ import annotations

import numpy as np

from online.arrays import FAST, I32
from online.kernels import kernel
from online.sessions_candidates import (
    AFTER,
    BEFORE_LAST,
    KNN,
    NEAR,
    NEVER,
    NEXT,
    PLAIN,
    Votes,
    add_candidate,
    find_place,
)
from online.sessions_index import SessionIndex

LENGTH = 9
NEIGHBOURS = 500
FADE = np.float32(0.7)  # of a prefix item by its age, and of an item by its distance
BACKWARD = np.float32(0.5)
AHEAD, BACK = 6, 4  # items of a session that count around a shared one
OLDER = np.float32(0.005)  # a posting's weight is 1 / (1 + .005 · newer postings)
DISTANCE = np.float32(0.8)
BEFORE = np.float32(0.7)


@kernel()
def gather_votes(x: SessionIndex, prefix: I32, own: int, v: Votes) -> int:
    """Fill v.items and v.sums for a prefix (oldest first) of session `own`; the candidates."""
    length = min(len(prefix), LENGTH)
    count = near = 0
    weight = np.float32(1)
    for k in range(length):
        h = prefix[len(prefix) - 1 - k]
        if v.held[h] == NEVER:
            v.held[h] = k
            count, near = _visit_postings(x, h, k, weight, own, v, count, near)
        weight *= FADE
    if near:
        count = _ask_neighbours(x, v, count, near)
    for k in range(length):
        v.held[prefix[len(prefix) - 1 - k]] = NEVER
    return count


@kernel(fastmath=FAST)
def _visit_postings(
    x: SessionIndex, h: int, k: int, weight: float, own: int, v: Votes, count: int, near: int
) -> tuple[int, int]:
    ring = x.first[h]
    size = x.first[h + 1] - ring
    for newer in range(min(x.visited[h], size)):
        at = ring + (x.visited[h] - 1 - newer) % size
        s = x.visitors[at]
        if s == own:
            continue
        place = v.near_place[s]
        if not (place < near and v.near[place] == s):
            place = v.near_place[s] = near
            v.near[near] = s
            v.alike[near] = 0
            near += 1
        v.alike[place] += weight
        fresh = np.float32(1) / (np.float32(1) + OLDER * np.float32(newer))
        start, met = x.start[s], x.places[at]
        step = np.float32(1)
        for p in range(met + 1, min(x.length[s], met + 1 + AHEAD)):
            item = x.items[start + p]
            c = find_place(v, count, item)
            if c < 0:
                c = add_candidate(v, count, item)
                count += 1
            v.sums[c, NEAR] += fresh * step * weight
            if k == 0:
                v.sums[c, AFTER] += fresh * step
                v.sums[c, NEXT] += np.float32(p == met + 1)
            step *= FADE
        step = BACKWARD
        for p in range(met - 1, max(0, met - BACK) - 1, -1):
            item = x.items[start + p]
            c = find_place(v, count, item)
            if c < 0:
                c = add_candidate(v, count, item)
                count += 1
            v.sums[c, NEAR] += fresh * step * weight
            if k == 0:
                v.sums[c, BEFORE_LAST] += fresh * step
            step *= FADE
    return count, near


@kernel(fastmath=FAST)
def _ask_neighbours(x: SessionIndex, v: Votes, count: int, near: int) -> int:
    least = np.float32(-1)
    for a in range(near):  # of equally alike sessions the newer
        v.alike[a] += np.float32(1e-7) * np.float32(v.near[a]) / np.float32(len(v.near))
    if near > NEIGHBOURS:
        least = np.partition(v.alike[:near], near - NEIGHBOURS)[near - NEIGHBOURS]
    for a in range(near):
        if v.alike[a] >= least:
            count = _ask_neighbour(x, v, count, v.near[a], v.alike[a])
    return count


@kernel(fastmath=FAST)
def _ask_neighbour(x: SessionIndex, v: Votes, count: int, s: int, alike: float) -> int:
    start, length = x.start[s], x.length[s]
    met, newest = -1, NEVER
    for p in range(length):
        held = v.held[x.items[start + p]]
        if held != NEVER:
            met, newest = p, min(newest, held)
    size = np.float32(length)
    vote = np.float32(alike) * FADE ** np.float32(newest) * size ** np.float32(-0.2)
    plain = np.float32(alike) / np.sqrt(size)
    for p in range(length):
        item = x.items[start + p]
        c = find_place(v, count, item)
        if c < 0:
            c = add_candidate(v, count, item)
            count += 1
        away = np.float32(abs(p - met))
        side = BEFORE if p < met else np.float32(1)
        v.sums[c, KNN] += vote * v.rarity[item] * side / (np.float32(1) + DISTANCE * away)
        v.sums[c, PLAIN] += plain
    return count
