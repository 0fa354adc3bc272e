"""The worker's exploration on a real Redis: counts of all workers, slots, the end of a budget."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from infra.local.stack import LocalStack
from infra.metrics import WorkerMetrics
from infra.pseudonym import Pseudonymiser
from infra.serving import AsyncRedisTopKStore, ListWrite
from infra.settings import Settings
from infra.warehouse import ArchiveWriter
from streams import topics
from streams.events import Item
from streams.explore import Exploration
from streams.item_ages import ItemAges
from streams.partition import PartitionState
from streams.recommend import stored_list
from streams.river import River

NOW = 1_772_366_400.0
HOUR = 3_600.0


def a_worker(store: AsyncRedisTopKStore, tenant: str, every: int = 20) -> Exploration:
    """With forty known items, of which one user took two; one item is new, one from tomorrow."""
    nowhere: Any = None
    settings = Settings().model_copy(update={"explore_every": every, "explore_views": 30})
    river = River(
        settings, WorkerMetrics(CollectorRegistry()), store,
        ArchiveWriter("clickhouse://127.0.0.1:9/default"), Pseudonymiser(b"1" * 32), nowhere,
    )  # fmt: skip
    state = PartitionState(0, 1)
    state.heard(topics.CLICKS, NOW)
    river.partitions[0] = state
    users = [f"u{n}" for n in range(40)] + ["me", "me"]
    items = [f"old{n}" for n in range(40)] + ["old1", "old2"]
    river.learner(tenant).learn(0, users, items, np.zeros(42, np.int8), np.full(42, NOW))
    exploration = Exploration(river)
    for item, hours in (("new", 20.0), ("tomorrow", -20.0), ("old3", 2_000.0)):
        at = datetime.fromtimestamp(NOW - hours * HOUR, UTC)
        exploration.offer(
            Item(item_id=item, title=item, tenant=tenant, published_at=at), arrived=False
        )
    return exploration


def a_list(exploration: Exploration, tenant: str, seq: int, user: str = "me") -> ListWrite:
    learner = exploration._river.learner(tenant)
    stored = stored_list(learner.top_k(user), (1, seq), NOW)
    return exploration.fill(ListWrite(tenant, user, stored), learner)


def test_a_new_item_gets_its_slots_until_all_workers_have_shown_it_enough(
    stack: LocalStack,
) -> None:
    tenant = f"explore-{uuid.uuid4().hex[:8]}"

    async def scenario() -> None:
        store = await AsyncRedisTopKStore.connect(stack.redis_url)
        one, other = a_worker(store, tenant), a_worker(store, tenant)
        for worker in (one, other):
            await worker._refresh(tenant)
            lists = [a_list(worker, tenant, seq).list for seq in range(40)]
            assert {made.items[place] for made in lists for place, _ in made.explored} == {"new"}
            assert all(made.scores == sorted(made.scores, reverse=True) for made in lists)
            assert all(
                made.seed and propensity == 1 for made in lists for _, propensity in made.explored
            )
        assert a_list(one, tenant, 7) == a_list(one, tenant, 7)
        assert a_list(one, tenant, 8, user="stranger").list.explored == []  # the popular list
        one.viewed(tenant, ["old1", "new"] * 20, NOW)
        other.viewed(tenant, ["new", "tomorrow"] * 15, NOW)
        await one._refresh(tenant)
        assert a_list(one, tenant, 9).list.explored
        await other._refresh(tenant)
        await one._refresh(tenant)
        for worker in (one, other):
            assert not a_list(worker, tenant, 10).list.explored
        await store.close()

    asyncio.run(scenario())


def test_it_is_off_unless_it_is_asked_for_and_its_price_is_counted(stack: LocalStack) -> None:
    tenant = f"explore-{uuid.uuid4().hex[:8]}"

    async def scenario() -> None:
        store = await AsyncRedisTopKStore.connect(stack.redis_url)
        off, on = a_worker(store, tenant, every=0), a_worker(store, tenant)
        for worker in (off, on):
            await worker._refresh(tenant)
            worker.taken(tenant, ["old1", "new", "old2"], [1, 0, 30])
        assert not a_list(off, tenant, 1).list.explored
        ndcg = on._river.metrics.explore_ndcg
        without, given = (ndcg.labels(name)._value.get() for name in ("without", "with"))
        assert without == 1 > given > 0.95
        on._tenants[tenant].added.clear()
        on.withdraw(tenant, "new")
        await on._refresh(tenant)
        assert not a_list(on, tenant, 2).list.explored
        await store.close()

    asyncio.run(scenario())


def test_ages_are_counted_and_the_first_list_is_timed() -> None:
    metrics = WorkerMetrics(CollectorRegistry())
    ages = ItemAges(metrics, most=3)
    for item, days in (("a", 0.5), ("b", 3), ("c", 400), ("d", 1)):
        at = datetime.fromtimestamp(NOW - days * 24 * HOUR, UTC)
        ages.put(Item(item_id=item, title=item, tenant="t", published_at=at), arrived=item == "b")
    ages.count("views", "t", ["a", "a", "b", "c", "d", "other"], NOW)
    found = {
        age: metrics.by_age.labels("views", age)._value.get()
        for age in ("day", "week", "month", "older", "unknown")
    }
    assert found == {"day": 2, "week": 1, "month": 0, "older": 1, "unknown": 2}
    empty: Any = stored_list(_top(["b", "x"]), (1, 1), NOW)
    ages.listed([ListWrite("t", "u", empty)] * 8)
    assert metrics.by_age.labels("lists", "week")._value.get() == 1
    assert metrics.first_list._sum.get() > 0


def _top(items: list[str]) -> Any:
    from online.topk import TopK

    return TopK(items, np.zeros(len(items), np.float32), "blend")
