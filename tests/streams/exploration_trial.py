"""A trial of exploration: the simulated platform, its lists with slots, and who looks at them."""

from __future__ import annotations

import time
from collections import Counter
from typing import NamedTuple

import msgspec
import numpy as np

from online.content_items import ItemContent
from online.content_terms import terms_of
from online.exploration import (
    NEAR,
    NO_PLAN,
    USUAL_RATE,
    New,
    Rules,
    explore,
    gain_tables,
    make_plan,
    propensities,
    relative_popularity,
    seed_of,
)
from online.learner import Learner, LearnerConfig
from streams import topics
from streams.events import Click, Item, Profile, Purchase
from streams.item_texts import terms_said_by
from streams.sender import Outbound
from streams.simulate import Look, SimulationConfig, simulate_with_looks

PLANNED_SECONDS = 600.0  # of the platform's clock, between two plans
SHOWN = 10
DAY = 86_400.0


class Trial(NamedTuple):
    """What came of it.

    Attributes:
        lists: every list that was written, with its slots.
        hours: new item → hours from publication to its 100th view, for those published a day or
            more before the end; inf: it did not come to that.
        organic: new item → views of it that no slot gave.
        gain, gain_with: NDCG@10 summed over the events, of lists without and with slots.
        live, live_with: the same as the worker's metric counts them.
        most_off: by which propensities missed a sum of 1 at most.
        list_us: of a list; slot_us: of its slots.
    """

    lists: list[tuple[str, list[str], list[tuple[int, float]]]]
    hours: dict[str, float]
    organic: Counter[str]
    gain: float
    gain_with: float
    live: float
    live_with: float
    most_off: float
    list_us: float
    slot_us: float

    @property
    def price(self) -> float:
        """Share of NDCG that slots cost."""
        return 1 - self.gain_with / self.gain

    @property
    def live_price(self) -> float:
        """The same by the metric."""
        return 1 - self.live_with / self.live


class _World:
    """The learner, the plans, and what was shown."""

    def __init__(self, rules: Rules, tenant: str) -> None:
        self.learner = Learner(LearnerConfig())
        self.rules, self.tenant = rules, tenant
        self.published: dict[str, float] = {}
        self.views: Counter[str] = Counter()
        self.by_slots: Counter[str] = Counter()
        self.clicks: Counter[str] = Counter()
        self.reached: dict[str, float] = {}
        self.plan, self.planned = NO_PLAN, -np.inf
        self.stored: dict[str, tuple[list[str], set[str]]] = {}
        self.lists: list[tuple[str, list[str], list[tuple[int, float]]]] = []
        self.gains = np.zeros(4)
        self.tables = gain_tables(rules.every)
        self.most_off = 0.0
        self.seconds = np.zeros(2)

    def item(self, item: Item, new: bool) -> None:
        self.learner.put_item(item.item_id, item.topics, item.available)
        said = [terms_of(*terms_said_by(item))]
        self.learner.put_content(ItemContent([item.item_id], said, None))
        if new and item.published_at is not None:
            self.published[item.item_id] = item.published_at.timestamp()

    def write(self, user: str, at: float) -> tuple[list[str], list[str]]:
        """Make a list; without slots, and with them."""
        self.replan(at)
        began = time.perf_counter()
        top = self.learner.top_k(user)
        middle = time.perf_counter()
        seed = seed_of(self.tenant, user, 1, len(self.lists))
        mine = top.policy != "popular"
        found = explore(
            top.items if mine else (), self.plan, self.rules, seed,
            lambda item: self.learner.has(user, item),
        )  # fmt: skip
        self.seconds += middle - began, time.perf_counter() - middle
        items = found.items if mine else top.items
        self.stored[user] = items, {items[place] for place, _ in found.slots}
        self.lists.append((user, items, found.slots))
        return top.items, items

    def replan(self, at: float) -> None:
        if at - self.planned < PLANNED_SECONDS:
            return
        self.planned = at
        popular = self.learner.popular(500)
        news = []
        for item, published in self.published.items():
            if published > at - self.rules.age and self.views[item] < self.rules.views:
                top = self.learner.similar(item, NEAR)
                near = dict(zip(top.items, top.scores.tolist(), strict=True))
                relative = relative_popularity(near, popular)
                news.append(
                    New(item, published, self.views[item], self.clicks[item], near, relative)
                )
        rate = (self.clicks.total() + 20 * USUAL_RATE) / (self.views.total() + 20)
        seed = seed_of(self.tenant, "plan", int(at * 1000))
        self.plan = make_plan(news, self.rules, at, rate, seed)
        if self.plan.items:
            shares = propensities(self.plan, np.ones(len(self.plan.items)))
            self.most_off = max(self.most_off, abs(float(shares.sum()) - 1))

    def look(self, look: Look) -> None:
        """Show the stored list, as the API would."""
        if look.user not in self.stored:
            self.write(look.user, look.at)
        items, slots = self.stored[look.user]
        for item in items[:SHOWN]:
            if item in self.published:
                self.views[item] += 1
                self.by_slots[item] += item in slots
                if self.views[item] == 100:
                    self.reached[item] = (look.at - self.published[item]) / 3600

    def take(self, event: Click | Purchase, at: float) -> None:
        user, item = event.user_id, event.item_id
        if not self.learner.has(user, item):
            without, given = self.write(user, at)
            for column, items in enumerate((without, given)):
                rank = items[:SHOWN].index(item) + 1 if item in items[:SHOWN] else 0
                self.gains[column] += self.tables[0][rank]
        if item in self.published:
            self.clicks[item] += 1
        learned = self.learner.learn(0, [user], [item], np.zeros(1, np.int8), np.array([at]))
        rank = int(learned.ranks[0])
        if 0 < rank <= SHOWN:
            self.gains[2] += self.tables[0][rank]
            self.gains[3] += self.tables[1 if self.plan.items else 0][rank]
        self.write(user, at)


def run(config: SimulationConfig, rules: Rules) -> Trial:
    """The whole simulation."""
    world = _World(rules, config.tenant)
    end = config.start + config.seconds * config.speed
    for each in simulate_with_looks(config):
        if isinstance(each, Look):
            world.look(each)
        elif each.topic == topics.ITEMS:
            world.item(msgspec.json.decode(each.value, type=Item), each.at > config.start)
        elif each.topic == topics.USERS:
            profile = msgspec.json.decode(each.value, type=Profile)
            world.learner.put_profile(0, profile.user_id, profile.interests, profile.personalise)
        elif each.topic in {topics.CLICKS, topics.PURCHASES}:
            _take(world, each)
    old = [item for item, at in world.published.items() if at <= end - DAY]
    organic = world.views - world.by_slots
    return Trial(
        lists=world.lists,
        hours={item: world.reached.get(item, np.inf) for item in old},
        organic=Counter({item: organic[item] for item in old}),
        gain=float(world.gains[0]),
        gain_with=float(world.gains[1]),
        live=float(world.gains[2]),
        live_with=float(world.gains[3]),
        most_off=world.most_off,
        list_us=1e6 * float(world.seconds[0]) / max(len(world.lists), 1),
        slot_us=1e6 * float(world.seconds[1]) / max(len(world.lists), 1),
    )


def _take(world: _World, outbound: Outbound) -> None:
    event = msgspec.json.decode(outbound.value, type=Click | Purchase)
    if world.learner.personalised(0, [event.user_id])[0]:
        world.take(event, outbound.at)
