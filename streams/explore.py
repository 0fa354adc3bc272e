"""explore: new items get their views: one slot in N of the lists that this worker writes.

Views are ids on served.v1, counted by every worker for all (`counts:<tenant>` in Redis), and so are
clicks; a crash may count some twice, and the budget ends a little early then. Once a second a plan
is made of them, which lists are filled from (see `online.exploration`).
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence

from msgspec import structs

from infra.serving import ListWrite
from infra.telemetry import get_logger
from online.exploration import (
    MOST,
    NEAR,
    NO_PLAN,
    USUAL_RATE,
    New,
    Plan,
    Rules,
    explore,
    finished,
    gain_tables,
    make_plan,
    relative_popularity,
    seed_of,
)
from online.learner import Learner
from streams.events import Item
from streams.item_ages import ItemAges
from streams.river import River

log = get_logger("explore")

REFRESH_SECONDS = 1.0
NEAR_REFRESHES = 60  # until what is near to an item is looked at again
POPULAR = 500
DAY_SECONDS = 86_400.0
SEEN, TAKEN = "views", "clicks"  # of all new items together


class _Tenant:
    """The new items of a tenant."""

    def __init__(self) -> None:
        self.published: dict[str, float] = {}
        self.done: set[str] = set()
        self.added: Counter[str] = Counter()
        self.about: dict[str, tuple[int, dict[str, float], float]] = {}
        self.plan: Plan = NO_PLAN
        self.refreshes = 0


class Exploration:
    """Counts what becomes of new items, and fills slots."""

    def __init__(self, river: River) -> None:
        s = river.settings
        self._river = river
        self.rules = Rules(s.explore_every, s.explore_age_days * DAY_SECONDS, s.explore_views)
        self.on = bool(s.explore_every)
        self.ages = ItemAges(river.metrics, s.max_items)
        self._tenants: defaultdict[str, _Tenant] = defaultdict(_Tenant)
        self._without, self._given = gain_tables(s.explore_every)

    def offer(self, item: Item, arrived: bool) -> None:
        """Take an item as it is now; `arrived`: it was not there when the worker started."""
        self.ages.put(item, arrived)
        if not self.on:
            return
        published = self._tenants[item.tenant].published
        if item.available and item.published_at is not None:
            published[item.item_id] = item.published_at.timestamp()
        else:
            published.pop(item.item_id, None)

    def withdraw(self, tenant: str, item_id: str) -> None:
        """An item is gone."""
        if self.on:
            self._tenants[tenant].published.pop(item_id, None)

    def viewed(self, tenant: str, items: Sequence[str], at: float) -> None:
        """A list was shown, at epoch seconds."""
        self.ages.count("views", tenant, items, at)
        if self.on and (mine := self._tenants[tenant]).published:
            new = [item for item in items if item in mine.published]
            mine.added.update(f"v:{item}" for item in new)
            mine.added[SEEN] += len(new)
            self._river.metrics.explore_views.inc(len(new))

    def taken(self, tenant: str, items: Sequence[str], ranks: Sequence[int]) -> None:
        """Items were taken that lists without slots had at these ranks."""
        if not self.on:
            return
        mine = self._tenants[tenant]
        new = [item for item in items if item in mine.published]
        mine.added.update(f"c:{item}" for item in new)
        mine.added[TAKEN] += len(new)
        given = self._given if mine.plan.items else self._without
        ndcg, high = self._river.metrics.explore_ndcg, [rank for rank in ranks if 0 < rank <= 10]
        ndcg.labels("without").inc(sum(self._without[rank] for rank in high))
        ndcg.labels("with").inc(sum(given[rank] for rank in high))

    def fill(self, write: ListWrite, learner: Learner) -> ListWrite:
        """The list with its slots. The popular list stays as it is: it is nobody's own."""
        tenant, user, stored = write.tenant, write.user, write.list
        plan = self._tenants[tenant].plan
        if stored.policy == "popular" or not plan.items or not stored.items:
            return write
        seed = seed_of(tenant, user, *stored.version)
        found = explore(stored.items, plan, self.rules, seed, lambda item: learner.has(user, item))
        score = dict(zip(stored.items, stored.scores, strict=True))
        for place, _ in found.slots:
            score[found.items[place]] = score[found.items[place - 1]] if place else stored.scores[0]
        scores = [score[item] for item in found.items]
        filled = structs.replace(
            stored, items=found.items, scores=scores, seed=seed, explored=found.slots
        )
        return ListWrite(tenant, user, filled)

    async def run(self) -> None:
        """Plan anew every second, for as long as the worker lives; Redis away only delays it."""
        while self.on:
            await asyncio.sleep(REFRESH_SECONDS)
            for tenant in list(self._tenants):
                if tenant in self._river.learners:
                    try:
                        await self._refresh(tenant)
                    except self._river.store.transient_errors as error:
                        log.warning("redis.away", error=type(error).__name__)

    async def _refresh(self, tenant: str) -> None:
        mine, rules = self._tenants[tenant], self.rules
        now = max((p.watermark() for p in self._river.partitions.values()), default=0.0)
        if not now:
            return
        for item in [i for i, at in mine.published.items() if at <= now - rules.age]:
            del mine.published[item]
            mine.about.pop(item, None)
        mine.done &= mine.published.keys()
        waiting = sorted(
            (at, item) for item, at in mine.published.items() if item not in mine.done and at <= now
        )[: 2 * MOST]
        items = [item for _, item in waiting]
        added, mine.added = mine.added, Counter()
        names = [SEEN, TAKEN, *(f"{kind}:{item}" for kind in "vc" for item in items)]
        try:
            seen, clicks, *counts = await self._river.store.count(tenant, added, names)
        except BaseException:
            mine.added += added
            raise
        learner, n = self._river.learner(tenant), len(items)
        news = [
            New(item, at, counts[k], counts[n + k], *self._about(mine, learner, item))
            for k, (at, item) in enumerate(waiting)
        ]
        mine.done |= {new.item for new in news if finished(new, rules)}
        rate = (clicks + 20 * USUAL_RATE) / (seen + 20)
        mine.refreshes += 1
        seed = seed_of(tenant, "plan", int(now * 1000))
        mine.plan = make_plan(news, rules, now, rate, seed)
        self._river.metrics.explore_items.labels("exploring").set(len(mine.plan.items))
        self._river.metrics.explore_items.labels("waiting").set(
            len(mine.published) - len(mine.done) - len(mine.plan.items)
        )
        self._river.metrics.explore_items.labels("done").set(len(mine.done))

    def _about(self, mine: _Tenant, learner: Learner, item: str) -> tuple[dict[str, float], float]:
        """What is near to an item, and how often that is taken."""
        made, near, relative = mine.about.get(item, (-NEAR_REFRESHES, {}, 1.0))
        if mine.refreshes - made >= NEAR_REFRESHES:
            top = learner.similar(item, NEAR)
            near = dict(zip(top.items, top.scores.tolist(), strict=True))
            relative = relative_popularity(near, learner.popular(POPULAR))
            mine.about[item] = mine.refreshes, near, relative
        return near, relative
