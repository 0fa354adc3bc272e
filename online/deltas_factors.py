"""Factor deltas: how far a learner's steps moved the embeddings and the blend since the last cut.

Embedding rows of several workers are summed, never averaged (measured: NDCG .062 against .013): a
row then moves as if one worker had taken all steps. `base` is what all workers agree on: the start,
and every delta since. It is kept while there is another worker, if only a silent one, who will be
told of what moved meanwhile.

The weights of the history positions, which every event of every worker moves, are averaged. So are
those of the blend, with √W times the rate and √W times the average, W workers. Between two
exchanges a worker follows its own few events alone: with W times the rate it strays (64 workers
lost 30 % of NDCG, 16 lost 11 %), and with the rate of one worker and the plain sum all overshoot
together (4 lost 5 %). With the roots 4, 16 and 64 workers lost .5, 5 and 5 % (docs/scale.md).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from online.arrays import F32, I64, grown
from online.shared import Shared

ROWS_AT_ONCE = 1_500  # of d = 64: 400 kB
MAX_ROWS = 6_000  # in one exchange, those that moved most first; the others wait
MATRICES = ("e_in", "e_out")
COLUMNS = ("bias", "g_in", "g_out")
CONTENT = ("content_weights", "content_squared")
WHOLE = ("attention", "attention_g", "weights", "squared", *CONTENT)
SQUARES = ("squared", "content_squared")  # never below zero
LEAST_LEFT = np.float32(0.1)  # of a square, whatever the others say
ALL, ROOT, AVERAGE = 0.0, -0.5, -1.0  # powers of W
SHARES = {"attention_g": ALL, "weights": ROOT, "content_weights": ROOT}


class FactorDelta(NamedTuple):
    """Movements of some rows, and of what has no rows.

    Attributes:
        slots: int64[n]; matrices: float32[2, n, d], of e_in and e_out; columns: float32[3, n], of
            bias, g_in and g_out.
        attention, attention_g: float32[20]; weights, squared, content_weights, content_squared:
            float32[buckets, features], of the blend. All zero in all but the first delta of an
            exchange.
    """

    slots: I64
    matrices: F32
    columns: F32
    attention: F32
    attention_g: F32
    weights: F32
    squared: F32
    content_weights: F32
    content_squared: F32


def _share(name: str, workers: int) -> np.float32:
    """What of a movement of one of WHOLE counts."""
    return np.float32(workers ** SHARES.get(name, AVERAGE))


class FactorExchange:
    """Cuts the movements of one learner, and adds those of others."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._base: dict[str, F32] = {}
        self.workers = 1

    def set_workers(self, workers: int, silent: int = 0) -> None:
        """So many learn from the same stream; alone, nothing is kept for the others.

        Args:
            silent: so many more learn nothing now, and will be told.
        """
        others = workers + silent > 1
        if others and not self._base:
            self._base = {name: array.copy() for name, array in self._arrays().items()}
        if not others:
            self._base = {}
        self.workers = workers
        self._set_rate()

    def _set_rate(self) -> None:
        self._shared.model.rates[1] = self._shared.config.blend_rate * math.sqrt(self.workers)

    def restart(self) -> None:
        """The model was loaded: what it holds now is the base."""
        if self._base:
            self._base = {name: array.copy() for name, array in self._arrays().items()}
        self._set_rate()

    def begin(self, slots: I64, anew: bool) -> None:
        """Rows were given other values, by every worker the same; `anew`: all were."""
        if anew:
            self.restart()
        for name in MATRICES + COLUMNS:
            self.set_start(name, slots)

    def set_start(self, name: str, slots: I64) -> None:
        """Start values of rows of a matrix or column are in the model: nobody moved them."""
        if self._base:
            self._grow()
            self._base[name][slots] = self._arrays()[name][slots]

    def cut(self) -> list[FactorDelta]:
        """What moved since the last cut; nothing where there is nobody to tell."""
        if not self._base:
            return []
        self._grow()
        arrays, base = self._arrays(), self._base
        n = self._shared.items.size
        # A row that moved has a greater sum of squared gradients: cheaper than to look at the rows.
        moved = (arrays["g_in"] - base["g_in"])[:n] + (arrays["g_out"] - base["g_out"])[:n]
        slots = np.flatnonzero(moved > 0)
        slots = slots[np.argsort(-moved[slots], kind="stable")[:MAX_ROWS]]
        whole = self._cut_whole(arrays)
        found = []
        for at in range(0, max(len(slots), 1), ROWS_AT_ONCE):
            found.append(
                FactorDelta(*self._cut_rows(arrays, slots[at : at + ROWS_AT_ONCE]), *whole)
            )
            whole = [np.zeros_like(array) for array in whole]
        return found

    def _cut_rows(self, arrays: dict[str, F32], slots: I64) -> tuple[I64, F32, F32]:
        """Matrices are rounded as they will be sent; the rest of a movement stays for later."""
        matrices = np.stack([arrays[name][slots] - self._base[name][slots] for name in MATRICES])
        matrices = np.clip(matrices, -60_000, 60_000).astype(np.float16).astype(np.float32)
        columns = np.stack([arrays[name][slots] - self._base[name][slots] for name in COLUMNS])
        for name, delta in zip(MATRICES + COLUMNS, [*matrices, *columns], strict=True):
            self._base[name][slots] += delta
        return slots, matrices, columns

    def _cut_whole(self, arrays: dict[str, F32]) -> list[F32]:
        """Of its own movement each keeps as much as the others take."""
        found = []
        for name in WHOLE:
            delta = arrays[name] - self._base[name]
            arrays[name] -= delta * (1 - _share(name, self.workers))
            self._base[name][...] = arrays[name]
            found.append(delta)
        return found

    def empty(self) -> FactorDelta:
        """A delta without rows, for its sizes."""
        a = self._arrays()
        return FactorDelta(
            np.zeros(0, np.int64),
            np.zeros((len(MATRICES), 0, a["e_in"].shape[1]), np.float32),
            np.zeros((len(COLUMNS), 0), np.float32),
            *(np.zeros_like(a[name]) for name in WHOLE),
        )

    def take(self, delta: FactorDelta) -> None:
        """Add another worker's movements; slots below zero are items refused here.

        Who has not heard of all workers yet takes too large a share of each: squares that all of
        them saw fall would fall below zero, and the weights would be no numbers from there on.
        """
        known = delta.slots >= 0
        slots = delta.slots[known]
        arrays = self._arrays()
        self._grow()
        moves = {
            **dict(zip(MATRICES, delta.matrices[:, known], strict=True)),
            **dict(zip(COLUMNS, delta.columns[:, known], strict=True)),
        }
        for target in (arrays, self._base) if self._base else (arrays,):
            for name, move in moves.items():
                target[name][slots] += move
            for name in WHOLE:
                left = LEAST_LEFT * target[name]
                target[name] += _share(name, max(2, self.workers)) * getattr(delta, name)
                if name in SQUARES:
                    np.maximum(target[name], left, out=target[name])

    def _arrays(self) -> dict[str, F32]:
        model = self._shared.model
        f, b, c = model.factors, model.blend, model.content
        rows = {name: getattr(f, name) for name in MATRICES + COLUMNS}
        return rows | {
            "attention": f.attention,
            "attention_g": f.attention_g,
            "weights": b.weights,
            "squared": b.squared,
            "content_weights": c.weights,
            "content_squared": c.squared,
        }

    def _grow(self) -> None:
        """New items start where they are: everyone draws the same start from the item's name."""
        if not self._base:
            return
        for name, array in self._arrays().items():
            have = len(self._base[name])
            if name in MATRICES + COLUMNS and have < len(array):
                self._base[name] = grown(self._base[name], len(array))
                self._base[name][have:] = array[have:]
