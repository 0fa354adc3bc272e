"""Postings: the latest sessions of every item (VMIS-kNN; Kersbergen, Sprangers, Schelter 2022)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import F32, F64, I32, I64
from online.kernels import kernel
from online.sessions_stream import SessionStream

LATEST = 500  # sessions kept of an item
SHORT, LONG = 0, 1
HALF_LIVES = np.array([23_000.0, 460_000.0])  # visits
RESCALED = 1e12


class SessionIndex(NamedTuple):
    """Sessions learned so far, their items, and back.

    Attributes:
        start: int64[sessions + 1]; length: int32[sessions], items learned of it.
        items: int32[n], a session's items in a row from its start.
        first: int64[items + 1], where an item's ring of sessions begins.
        visitors: int32[·], sessions; places: int32[·], where in it the item comes first.
        visited: int32[items], sessions ever pushed into the ring.
        visits: int32[items]; fading: float64[2, items], visits that fade.
        clock: float64[2], weight of the next visit; total: float64[2], sum of `fading`.
        opened: int64[1], sessions with an item.
    """

    start: I64
    length: I32
    items: I32
    first: I64
    visitors: I32
    places: I32
    visited: I32
    visits: I32
    fading: F64
    clock: F64
    total: F64
    opened: I64


def new_index(stream: SessionStream) -> SessionIndex:
    """An empty index with the room that the stream will need."""
    items, sessions = len(stream.item_ids), len(stream.start) - 1
    room = np.minimum(np.bincount(stream.items, minlength=items), LATEST)
    first = np.concatenate([[0], np.cumsum(room)]).astype(np.int64)
    return SessionIndex(
        stream.start,
        np.zeros(sessions, np.int32),
        np.zeros(len(stream), np.int32),
        first,
        np.zeros(int(first[-1]), np.int32),
        np.zeros(int(first[-1]), np.int32),
        np.zeros(items, np.int32),
        np.zeros(items, np.int32),
        np.zeros((len(HALF_LIVES), items)),
        np.ones(len(HALF_LIVES)),
        np.zeros(len(HALF_LIVES)),
        np.zeros(1, np.int64),
    )


@kernel()
def add_visits(x: SessionIndex, sessions: I32, items: I32) -> None:
    """Learn visits in order."""
    for e in range(len(sessions)):
        _add_visit(x, sessions[e], items[e])


@kernel()
def _add_visit(x: SessionIndex, session: int, item: int) -> None:
    start, place = x.start[session], x.length[session]
    again = False
    for at in range(start, start + place):
        again = again or x.items[at] == item
    if not again:
        ring = x.first[item]
        at = ring + x.visited[item] % (x.first[item + 1] - ring)
        x.visitors[at] = session
        x.places[at] = place
        x.visited[item] += 1
    x.items[start + place] = item
    x.length[session] += 1
    x.opened[0] += place == 0
    x.visits[item] += 1
    for c in range(len(HALF_LIVES)):
        x.fading[c, item] += x.clock[c]
        x.total[c] += x.clock[c]
        x.clock[c] *= 2.0 ** (1.0 / HALF_LIVES[c])
        if x.clock[c] > RESCALED:
            x.fading[c] /= x.clock[c]
            x.total[c] /= x.clock[c]
            x.clock[c] = 1.0


@kernel()
def inverse_frequencies(x: SessionIndex, out: F32) -> None:
    """out[i] = log(sessions / (n_i + 1) + 1), at least .1."""
    for i in range(len(x.visits)):
        out[i] = max(0.1, np.log(x.opened[0] / (x.visits[i] + 1.0) + 1.0))
