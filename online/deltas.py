"""Deltas: what interactions add to the item statistics, in a form that another learner can add.

An *increment* is a pure function of one user's own history: the item, its weight, and the context
that it met, the same that `cooccurrence.add_interaction` took. Twenty item numbers say what would
be fifty-two sums. It carries no user. A negative weight takes an earlier increment out again: of a
user who was forgotten or dropped, or of a history that was cut.

Counts, C, T and R are integers, so the sum over increments does not depend on their order. The
fading counts travel as (weight, age) pairs and are inflated by the receiver's own clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from online import cooccurrence as co
from online import histories as hi
from online import learning
from online import popularity as po
from online.arrays import I8, I32, I64
from online.kernels import kernel
from online.walk import Walk, context_before, new_walk

WIDTH = co.NEIGHBOURS


class Increments(NamedTuple):
    """Increments in order.

    Attributes:
        items: int32[n], slots, -1 for an item that was refused here.
        halves: int8[n], weight in halves; negative: taken out.
        contexts: int32[n, 20], newest first, -1 beyond the end.
        stamps: int64[n], the clock when the interaction was learned.
    """

    items: I32
    halves: I8
    contexts: I32
    stamps: I64

    @property
    def size(self) -> int:
        """Increments."""
        return len(self.items)

    def between(self, start: int, end: int) -> Increments:
        """Views of the increments from `start` to before `end`."""
        return Increments(
            self.items[start:end],
            self.halves[start:end],
            self.contexts[start:end],
            self.stamps[start:end],
        )

    def copied(self) -> Increments:
        """A copy, which holds on to no larger arrays."""
        return Increments(
            self.items.copy(), self.halves.copy(), self.contexts.copy(), self.stamps.copy()
        )

    def reversed(self) -> Increments:
        """A copy, the last one first."""
        backwards = slice(None, None, -1)
        return Increments(
            self.items[backwards], self.halves[backwards], self.contexts[backwards],
            self.stamps[backwards],
        ).copied()  # fmt: skip


def none() -> Increments:
    """No increments."""
    return Increments(
        np.zeros(0, np.int32),
        np.zeros(0, np.int8),
        np.zeros((0, WIDTH), np.int32),
        np.zeros(0, np.int64),
    )


def joined(parts: Sequence[Increments]) -> Increments:
    """The parts one after the other."""
    if len(parts) < 2:
        return parts[0] if parts else none()
    return Increments(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def just_learned(m: learning.Model, events: learning.Events, clock: int) -> Increments:
    """What the latest interactions added.

    Args:
        events: the interactions; no more of them than the ring of recent interactions holds, where
            each left its item and context as it was learned.
        clock: of the model before them.
    """
    n, f = len(events.users), m.factors
    found = Increments(
        np.empty(n, np.int32),
        np.empty(n, np.int8),
        np.empty((n, WIDTH), np.int32),
        np.empty(n, np.int64),
    )
    size = _read_ring(events, clock, f.recent_context, int(f.pushed[0]), found)
    return found if size == n else found.between(0, size).copied()


@kernel()
def _read_ring(events: learning.Events, clock: int, ring: I32, pushed: int, out: Increments) -> int:
    n = 0
    for e in range(len(events.items)):
        n += events.items[e] >= 0 and events.kinds[e] != hi.NEGATIVE
    at, n = pushed - n, 0
    for e in range(len(events.items)):
        if events.items[e] < 0:
            continue
        if events.kinds[e] != hi.NEGATIVE:
            out.items[n] = events.items[e]
            out.halves[n] = co.HALVES[events.kinds[e]]
            for k in range(WIDTH):
                out.contexts[n, k] = ring[(at + n) % len(ring), k]
            out.stamps[n] = clock
            n += 1
        clock += 1
    return n


def of_histories(m: learning.Model, h: hi.Histories, users: I64, sign: int) -> Increments:
    """What the users' whole histories add (sign 1), or take out (-1)."""
    n = int(h.length[users].sum())
    found = Increments(
        np.zeros(n, np.int32),
        np.zeros(n, np.int8),
        np.full((n, WIDTH), -1, np.int32),
        np.zeros(n, np.int64),
    )
    walk = new_walk(h, users, len(m.available))
    return found.between(0, _read_histories(h, users, walk, sign, found))


@kernel()
def _read_histories(h: hi.Histories, users: I64, w: Walk, sign: int, out: Increments) -> int:
    n = 0
    for u in range(len(users)):
        for e in range(hi.read(h, users[u], 0, w.items, w.clocks, w.kinds)):
            kind = w.kinds[e]
            if kind == hi.NEGATIVE:
                w.disliked[w.items[e]] = u + 1
                continue
            count = context_before(w, e, u + 1)
            out.items[n] = w.items[e]
            out.halves[n] = co.HALVES[kind] * sign
            out.contexts[n, :count] = w.context[:count]
            out.stamps[n] = w.clocks[e]
            n += 1
    return n


@kernel()
def pass_live(m: learning.Model, halves: I8) -> None:
    """One tick for every increment that is new, as if its interaction had been learned here."""
    for j in range(len(halves)):
        if halves[j] > 0:
            po.tick(m.popularity)
            m.clock[0] += 1


@kernel()
def add(m: learning.Model, increments: Increments, first: int, sign: int) -> int:
    """Add (sign 1) or take out (-1) increments from `first` on.

    Returns:
        The first increment that is not added because the pairs need room; else their number.
    """
    context = m.scratch.context
    for j in range(first, len(increments.items)):
        item = increments.items[j]
        if item < 0:
            continue
        count = 0
        while count < WIDTH and increments.contexts[j, count] != -1:
            h = increments.contexts[j, count]
            context[count] = h if h >= 0 else item  # refused here: a pair with itself is none
            count += 1
        if not co.has_room(m.pairs, context, count, item):
            return j
        halves = increments.halves[j] * sign
        co.add_interaction(m.pairs, context, count, item, halves)
        po.add_count(m.popularity, item, halves)
        po.add_fading(m.popularity, item, halves, m.clock[0], increments.stamps[j])
    return len(increments.items)
