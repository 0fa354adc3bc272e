"""Content start: an item that nobody took yet has its factors from what it says, not from chance.

The factors of items with enough interactions are regressed on what their embeddings say (ridge):

    W = (XᵀX + λ I)⁻¹ XᵀY,    start = s · x W

x: an item's coordinates on the content axes, of length 1, and a 1; Y = [E_in, E_out]; s makes
starts as long as learned factors are (root mean square). XᵀX and XᵀY are sums over items, taken
anew whenever the axes have turned or a tenth more was learned, because Y moves with every
interaction. A row that no interaction has moved follows the newest W.

W is in no checkpoint: it follows from the factors, which are, and from what items say, of which
learners are told anew.
"""

from __future__ import annotations

from functools import partial, reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from online.arrays import F32, F64, I64
from online.factors import FIRST_G
from online.steps import Steps

if TYPE_CHECKING:
    from online.shared import Shared

RIDGE = 10.0  # λ
ENOUGH = 5.0  # interactions, weighted, from which an item's factors are worth learning from
FEWEST = 32  # such items, before there is a map
MOST = 16_384  # of them looked at
AT_ONCE = 1_024  # items
GROWN = 1.1
AT_LEAST = 1_000  # interactions more, before a map is made anew


class Sums(NamedTuple):
    """Sums over items.

    Attributes:
        xx: float64[w, w]; xy: float64[w, 2, d]; yy: float64[2], Σ ‖E_in‖², Σ ‖E_out‖².
    """

    xx: F64
    xy: F64
    yy: F64


def added(one: Sums, other: Sums) -> Sums:
    """Sums over the items of both."""
    return Sums(*(a + b for a, b in zip(one, other, strict=True)))


def summed(x: F32, y: F32) -> Sums:
    """Sums over some items: x float32[n, w], y float32[n, 2, d]."""
    wide, factors = x.astype(np.float64), y.astype(np.float64)
    return Sums(
        wide.T @ wide, np.tensordot(wide, factors, (0, 0)), np.square(factors).sum(axis=(0, 2))
    )


def solved(s: Sums) -> F32:
    """s · W, float32[w, 2, d]."""
    w, _, d = s.xy.shape
    penalised = s.xx + RIDGE * np.eye(w)
    found = np.linalg.solve(penalised, s.xy.reshape(w, 2 * d)).reshape(w, 2, d)
    length = (found * np.tensordot(s.xx, found, (1, 0))).sum(axis=(0, 2))
    scale = np.sqrt(s.yy / np.maximum(length, 1e-12))
    scaled: F32 = (found * scale[:, None]).astype(np.float32)
    return scaled


class ContentStart:
    """Gives items their first factors.

    Attributes:
        map: float32[w, 2, d], s · W; None while too few items are known.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._turned, self._clock = 0, 0
        self.map: F32 | None = None

    def forget(self) -> None:
        """What the map was made of is gone: a new one is made before the next item starts."""
        self.map, self._turned = None, 0

    def starting(self, slots: I64) -> Steps:
        """Start those of the items, int64[n], that have an embedding and were never moved."""
        shared = self._shared
        turned, clock = shared.content.turned, int(shared.model.clock[0])
        if not turned:
            return
        if turned != self._turned or clock >= GROWN * self._clock + AT_LEAST:
            self._turned, self._clock = turned, clock
            found: list[F32] = []
            yield partial(self._solve, found)
            if self._turned != turned:  # forgotten meanwhile
                return
            self.map = found[0] if found else None
            f = shared.model.factors
            slots = np.flatnonzero((f.g_in == FIRST_G) | (f.g_out == FIRST_G))
        for at in range(0, len(slots), AT_ONCE):
            if self.map is not None:
                self._start(self.map, slots[at : at + AT_ONCE])
                yield None

    def _solve(self, found: list[F32]) -> None:
        """A new map, if there can be one; only reads what others change."""
        shared = self._shared
        f, counts = shared.model.factors, shared.model.popularity.counts
        known = np.flatnonzero(counts >= ENOUGH)
        known = known[shared.content.embedded(known)]
        known = known[:: len(known) // MOST + 1]
        if len(known) < FEWEST:
            return
        portions = (known[at : at + AT_ONCE] for at in range(0, len(known), AT_ONCE))
        sums = (
            summed(self._x(some), np.stack([f.e_in[some], f.e_out[some]], axis=1))
            for some in portions
        )
        made = solved(reduce(added, sums))
        if np.isfinite(made).all():
            found.append(made)

    def _x(self, slots: I64) -> F32:
        z = self._shared.content.directions(slots)
        return np.hstack([z, np.ones((len(z), 1), np.float32)])

    def _start(self, by: F32, slots: I64) -> None:
        slots = slots[self._shared.content.embedded(slots)]
        f = self._shared.model.factors
        starts = np.tensordot(self._x(slots), by, (1, 0))
        for side, (name, moved) in enumerate((("e_in", f.g_in), ("e_out", f.g_out))):
            fresh = moved[slots] == FIRST_G
            getattr(f, name)[slots[fresh]] = starts[fresh, side]
            if self._shared.on_started is not None:
                self._shared.on_started(name, slots[fresh])
