"""Exploration: one slot in N of a list shows an item that is too new to have shown itself.

Thompson sampling (Chapelle, Li 2011) with what content says as the prior:

    θ_i ~ Beta(k p_i + clicks_i, k (1 − p_i) + views_i − clicks_i),   k = 20
    the slot's item: argmax_i θ_i (1 + 4 near(list, i))

p_i is the usual click rate, times how much more than others the items near i are taken; near is
the share of i's neighbours that stand in the user's own list. 64 joint draws of θ make a plan, anew
every second; which of them a list takes, and where in its N places the slot is, follows from the
list's seed. The share of the 64 draws that would have chosen the same item is its propensity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec
import numpy as np

from online.arrays import F64
from online.exploration_slots import DRAWS, choose, fill_slots
from online.topk import TopK

STRENGTH = 20.0  # k, views that the prior counts as
NEAR = 10  # neighbours of a new item that are looked for in lists
MOST = 32  # items explored at a time, those published first
USUAL_RATE = 0.05  # clicks a view, while nothing was seen
MASK = (1 << 64) - 1


class Rules(msgspec.Struct, frozen=True):
    """When an item is explored.

    Attributes:
        every: one slot in so many; 0: none.
        age: seconds since its publication, after which an item is new no more.
        views: budget of an item, spent evenly over the first `pace` seconds: where pages enough
            are opened, not every list needs a slot.
        clicks: with so many an item has shown itself.
    """

    every: int = 0
    age: float = 7 * 86_400.0
    views: int = 120
    pace: float = 14 * 3_600.0
    clicks: int = 20


class New(NamedTuple):
    """A new item.

    Attributes:
        published: event time, epoch seconds.
        views: how often lists showed it; clicks: how often it was taken.
        near: what is near to it, with weights that sum to 1 at most.
        relative: how often its neighbours are taken, ÷ the mean of all items.
    """

    item: str
    published: float
    views: int
    clicks: float
    near: Mapping[str, float]
    relative: float = 1.0


class Plan(NamedTuple):
    """What lists explore until the next plan.

    Attributes:
        items: ids; draws: float64[items, 64], θ.
        rows: an item that is new, or has new ones near → its row; the new ones come first.
        near: float64[rows, items], how near the new items are to it.
    """

    items: tuple[str, ...]
    draws: F64
    rows: dict[str, int]
    near: F64


class Explored(NamedTuple):
    """A list with its explored slots.

    Attributes:
        items: ids, best first, but for the slots.
        slots: (place from 0, propensity) of each.
    """

    items: list[str]
    slots: list[tuple[int, float]]


NO_PLAN = Plan((), np.zeros((0, DRAWS)), {}, np.zeros((0, 0)))


def finished(new: New, rules: Rules) -> bool:
    """Whether the budget is spent, or the item has shown itself."""
    return new.views >= rules.views or new.clicks >= rules.clicks


def wanted(new: New, rules: Rules, now: float) -> bool:
    """Whether lists are to explore the item at event time `now`."""
    age = now - new.published
    due = rules.views * (age + 0.1 * rules.pace) / rules.pace
    return 0 <= age < rules.age and new.views < due and not finished(new, rules)


def make_plan(news: Iterable[New], rules: Rules, now: float, rate: float, seed: int) -> Plan:
    """The items to explore and their draws; the same arguments make the same plan.

    Args:
        rate: clicks a view, usually.
    """
    some = sorted((n for n in news if wanted(n, rules, now)), key=lambda n: (n.published, n.item))
    some = some[:MOST]
    if not some or not rules.every:
        return NO_PLAN
    views = np.array([n.views for n in some], np.float64)
    clicks = np.minimum([n.clicks for n in some], views)
    relative = np.clip([n.relative for n in some], 0.2, 5.0)
    prior = np.clip(rate * relative, 1e-3, 0.5)
    random = np.random.default_rng(seed & MASK)
    draws = random.beta(
        STRENGTH * prior + clicks, STRENGTH * (1 - prior) + views - clicks, (DRAWS, len(some))
    )
    items = tuple(n.item for n in some)
    others = [other for new in some for other in new.near]
    rows = {item: row for row, item in enumerate(dict.fromkeys([*items, *others]))}
    near = np.zeros((len(rows), len(some)))
    for number, new in enumerate(some):
        for other, weight in new.near.items():
            near[rows[other], number] = weight
    return Plan(items, np.ascontiguousarray(draws.T), rows, near)


def seed_of(*of: object) -> int:
    """63 bits of BLAKE2b of (tenant, user, epoch, seq), or whatever makes a list the one it is."""
    digest = blake2b("\x1f".join(map(str, of)).encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little") >> 1


def explore(
    items: Sequence[str], plan: Plan, rules: Rules, seed: int, has: Callable[[str], bool]
) -> Explored:
    """Put one new item into every `rules.every` places of a list.

    Args:
        items: ids, best first.
        has: whether the user has an item already.
    """
    if not plan.items:
        return Explored(list(items), [])
    row = plan.rows.get
    rows = np.array([row(item, -1) for item in items], np.int64)
    owned, order = np.zeros(len(plan.items), np.uint8), np.empty(len(rows), np.int64)
    places = np.empty(len(rows) // rules.every + 1, np.int64)
    shares = np.empty(len(places))
    mine = [0]
    while mine:  # few have a new item, so they are asked about what was chosen, not about all
        found = fill_slots(
            rows, plan.near, plan.draws, owned, rules.every, seed, order, places, shares
        )  # fmt: skip
        chosen = [~order[place] for place in places[:found].tolist()]
        mine = [number for number in chosen if has(plan.items[number])]
        owned[mine] = 1
    out = [items[at] if at >= 0 else plan.items[~at] for at in order.tolist()]
    return Explored(out, list(zip(places[:found].tolist(), shares[:found].tolist(), strict=True)))


def propensities(plan: Plan, weights: F64) -> F64:
    """Share of the draws that choose each item; float64[items], their sum is 1.

    Args:
        weights: float64[items], what θ is multiplied with; below 0: not to be chosen.
    """
    chosen = np.empty(DRAWS, np.int64)
    choose(plan.draws, weights, np.empty(DRAWS), chosen)
    return np.bincount(chosen, minlength=len(weights)) / DRAWS


def gain_tables(every: int) -> tuple[list[float], list[float]]:
    """NDCG@10 of a hit at rank r = 0 … 10 of the list without slots, and expected with them.

    What stands at rank r moves down by one where the slot is at or above it: with chance r / N.
    Hits of the explored item itself are left out, so that the price is rather too high.
    """
    without = [0.0] + [1 / math.log2(rank + 1) for rank in range(1, 11)]
    below = [*without[1:], 0.0]
    moved = [min(1.0, rank / every) if every else 0.0 for rank in range(11)]
    given = [(1 - m) * w + m * b for w, b, m in zip(without, below, moved, strict=True)]
    return without, [0.0, *given[1:]]


def relative_popularity(near: Mapping[str, float], popular: TopK) -> float:
    """How often what is near is taken, ÷ the mean of the popular list; scores are logarithms."""
    if not popular.items:
        return 1.0
    shares = np.exp(popular.scores - popular.scores[0])
    of = dict(zip(popular.items, (shares / shares.mean()).tolist(), strict=True))
    known = sum(near.values())
    return float(sum(w * of.get(i, 0.0) for i, w in near.items()) + max(0.0, 1 - known))
