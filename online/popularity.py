"""Popularity: weighted counts, and counts that fade with five half-lives on the learner's clock.

A fading count is Σ_events w · 2^(−age / half-life), age in interactions. It is kept inflated: an
interaction adds `step`, which grows by 2^(1 / half-life) with every tick, so that a tick touches
one number instead of all items.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from online.arrays import F32, F64, I32, I64, grown
from online.kernels import leaf

HALF_LIVES = np.array([20.0, 100.0, 700.0, 4000.0, 20000.0])
H20, H100, H700, H4000, H20000 = range(5)
GROWTH = 2.0 ** (1.0 / HALF_LIVES)
INFLATED = 1e24  # far from both ends of a float32
GONE = 60.0  # half-lives after which nothing is left
BY_COUNT = 5  # row of the leaders by plain counts, after those by the fading ones
COUNT, DAMP = 5, 6  # words of a card, after the fading counts
CARD = 8
LISTED = 128


class Popularity(NamedTuple):
    """Counts of all items.

    Attributes:
        counts: float64[items], weighted interactions (multiples of ½: exact).
        damp: float32[items], (count + 1)^-.3.
        share: float32[items], count^-.7 (0 for none).
        fading: float32[5, items], inflated by `step`.
        cards: float32[items, 8], of each item once more the five fading counts, the count and
            damp, side by side: one line of the cache where they are wanted of some items only.
        total: float64[5], sums of `fading`.
        step: float64[5], what an interaction adds now.
        counted: float64[1], sum of `counts`.
        leaders: int32[6, 128], the best items by each fading count and by the plain one, in
            order, -1 beyond the end. Exact while only added to; `settle` makes them anew.
        met: int64[1], one beyond the last item that ever had a count.
    """

    counts: F64
    damp: F32
    share: F32
    fading: F32
    cards: F32
    total: F64
    step: F64
    counted: F64
    leaders: I32
    met: I64


def new_popularity(items: int) -> Popularity:
    """All zero."""
    return Popularity(
        np.zeros(items),
        np.ones(items, np.float32),
        np.zeros(items, np.float32),
        np.zeros((5, items), np.float32),
        np.zeros((items, CARD), np.float32),
        np.zeros(5),
        np.ones(5),
        np.zeros(1),
        np.full((6, LISTED), -1, np.int32),
        np.zeros(1, np.int64),
    )


def with_items(p: Popularity, items: int) -> Popularity:
    """Room for more items."""
    return p._replace(
        counts=grown(p.counts, items),
        damp=grown(p.damp, items, fill=1),
        share=grown(p.share, items),
        fading=grown(p.fading, items, axis=1),
        cards=grown(p.cards, items),
    )


@leaf()
def add_count(p: Popularity, item: int, halves: int) -> None:
    """Count an interaction of so many halves, or, where they are negative, take one out."""
    before = p.counts[item]
    n = max(0.0, before + 0.5 * halves)
    p.counts[item] = n
    p.counted[0] += n - before
    p.damp[item] = (n + 1.0) ** -0.3
    p.share[item] = n**-0.7 if n > 0 else 0.0
    p.cards[item, COUNT] = n
    p.cards[item, DAMP] = p.damp[item]
    p.met[0] = max(p.met[0], item + 1)
    _lead(p.leaders[BY_COUNT], p.counts, item)


@leaf()
def add_fading(p: Popularity, item: int, halves: int, now: int, then: int) -> None:
    """Add an interaction of the tick `then` to the fading counts, or take it out."""
    age = now - then
    for c in range(5):
        lives = age / HALF_LIVES[c]
        if lives < GONE:
            value = 0.5 * halves * p.step[c] * 2.0**-lives
            p.fading[c, item] = max(0.0, float(p.fading[c, item]) + value)
            p.cards[item, c] = p.fading[c, item]
            p.total[c] += value
            _lead(p.leaders[c], p.fading[c], item)


@leaf()
def _lead(leaders: I32, values: npt.NDArray[Any], item: int) -> None:
    """Move an item whose value changed to where it belongs among the leaders."""
    last, x = len(leaders) - 1, values[item]
    if leaders[last] >= 0 and values[leaders[last]] > x:
        return
    at = 0
    while at < last and leaders[at] != item and leaders[at] >= 0:
        at += 1
    if leaders[at] != item and leaders[at] >= 0 and not x > values[leaders[last]]:
        return
    while at > 0 and values[leaders[at - 1]] < x:
        leaders[at] = leaders[at - 1]
        at -= 1
    leaders[at] = item


@leaf()
def tick(p: Popularity) -> None:
    """One interaction passed."""
    for c in range(5):
        p.step[c] *= GROWTH[c]
        if p.step[c] > INFLATED:
            per = np.float32(1.0 / p.step[c])
            for i in range(p.fading.shape[1]):
                p.fading[c, i] *= per
                p.cards[i, c] = p.fading[c, i]
            p.total[c] /= p.step[c]
            p.step[c] = 1.0


def pass_ticks(p: Popularity, ticks: int) -> None:
    """Let many interactions pass at once, elsewhere counted."""
    fade = 2.0 ** (-np.minimum(ticks / HALF_LIVES, 1000.0))
    p.fading[...] *= fade[:, None].astype(np.float32)
    p.cards[:, : len(fade)] = p.fading.T
    p.total[...] *= fade


def settle(p: Popularity) -> None:
    """Totals and leaders anew, after histories were taken out (rounding must not add up)."""
    p.total[...] = p.fading.sum(axis=1, dtype=np.float64)
    for leaders, values in zip(p.leaders, (*p.fading, p.counts), strict=True):
        best = _heaviest(values)
        leaders[:] = -1
        leaders[: len(best)] = best


def _heaviest(values: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """The LISTED greatest above zero, ties in order of items; sorts no more than these."""
    least = np.partition(values, len(values) - LISTED)[len(values) - LISTED]
    some = np.flatnonzero((values >= least) & (values > 0))
    return some[np.argsort(-values[some], kind="stable")[:LISTED]]
