"""The popular list of a topic, a language or a surface ends with its items, and with its writer."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pytest

from infra.serving import MemoryTopKStore, StoredList
from infra.warehouse import TransientError
from online.learner import Kind
from streams import popular as popular_module
from streams.catalog import Catalog
from streams.events import Item
from streams.partition import PartitionState
from streams.popular import Popular
from tests.streams.test_limits import new_river


class Store:
    """The store in memory, as coroutines; `away`: the next so many writes of parts fail."""

    transient_errors = (ConnectionError,)

    def __init__(self) -> None:
        self.now, self.away = 0.0, 0
        self.memory = MemoryTopKStore(lambda: self.now)

    async def next_epoch(self, topic: str, partition: int, above: int = 0) -> int:
        return self.memory.next_epoch(topic, partition, above)

    async def write_popular(self, name: str, stored: StoredList, *ttl: float) -> bool:
        if ":" in name and self.away:
            self.away -= 1
            raise ConnectionError
        return self.memory.write_popular(name, stored, *ttl)

    def items(self, name: str) -> list[str] | None:
        found = self.memory.popular(name)
        return None if found is None else found.items


class Surfaces:
    """A ClickHouse that counts two items in the app; or `away`."""

    away = False

    def query(self, *_: Any) -> list[dict[str, Any]]:
        if self.away:
            raise TransientError("away")
        return [{"surface": "app", "item_id": item, "users": 2} for item in "ab"]


def writer(store: Store, warehouse: Any = None) -> tuple[Popular, Catalog]:
    """Who owns partition 0, whose learner knows a, b and c."""
    river = new_river()
    river.store = store  # type: ignore[assignment]
    river.partitions[0] = PartitionState(0, 1)
    catalog = Catalog(river)
    popular = Popular(river, catalog, warehouse)
    popular._surfaces_at = 0.0 if warehouse else math.inf
    kinds = np.full(3, Kind.CLICK, np.int8)
    river.learner("t").learn(0, ["u"] * 3, ["a", "b", "c"], kinds, np.zeros(3))
    return popular, catalog


def put(catalog: Catalog, *items: str) -> None:
    for item_id in items:
        catalog._put(Item(item_id=item_id, title="x", tenant="t", topics=("art",)))


def refresh(popular: Popular, surfaces: bool = False) -> None:
    popular._parts_at = 0.0
    popular._surfaces_at = 0.0 if surfaces else popular._surfaces_at
    asyncio.run(popular.refresh())


def test_the_list_of_a_topic_is_emptied_when_all_its_items_are_withdrawn() -> None:
    store = Store()
    popular, catalog = writer(store)
    put(catalog, "a", "b")
    refresh(popular)
    assert set(store.items("t:topic:art") or ()) == {"a", "b"}
    for item_id in "ab":
        catalog._withdraw(f"t/{item_id}")
    store.away = 1
    with pytest.raises(ConnectionError):
        refresh(popular)
    refresh(popular)
    assert store.items("t:topic:art") == [] and store.items("t") == ["c"]


def test_a_topic_that_is_not_among_the_most_popular_for_now_keeps_its_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store()
    popular, catalog = writer(store)
    put(catalog, "a", "b")
    refresh(popular)
    monkeypatch.setattr(popular_module, "among_items", lambda *_: {})
    refresh(popular)
    assert set(store.items("t:topic:art") or ()) == {"a", "b"}
    catalog._withdraw("t/a")
    refresh(popular)
    assert store.items("t:topic:art") == ["b"]


def test_what_has_another_topic_now_leaves_the_list_of_the_one_it_had() -> None:
    store = Store()
    popular, catalog = writer(store)
    put(catalog, "a", "b")
    refresh(popular)
    catalog._put(Item(item_id="a", title="x", tenant="t", topics=("jazz",)))
    refresh(popular)
    assert store.items("t:topic:art") == ["b"]


def test_a_part_s_list_goes_when_nobody_renews_it() -> None:
    store = Store()
    popular, catalog = writer(store)
    put(catalog, "a", "b")
    refresh(popular)
    store.now += popular_module.PART_EXPIRES_SECONDS
    assert store.items("t:topic:art") is None and store.items("t")


def test_a_part_s_list_is_renewed_though_it_did_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    popular, catalog = writer(store)
    monkeypatch.setattr("time.monotonic", lambda: 1e6 + store.now)
    put(catalog, "a", "b")
    for _ in range(9):
        refresh(popular)
        store.now += popular_module.PART_EXPIRES_SECONDS / 2
    assert set(store.items("t:topic:art") or ()) == {"a", "b"}


def test_what_is_withdrawn_leaves_a_surface_though_clickhouse_is_away() -> None:
    store, warehouse = Store(), Surfaces()
    popular, catalog = writer(store, warehouse)
    put(catalog, "a", "b")
    refresh(popular, surfaces=True)
    assert store.items("t:surface:app") == ["a", "b"]
    warehouse.away = True
    refresh(popular, surfaces=True)
    catalog._withdraw("t/a")
    refresh(popular)
    assert store.items("t:surface:app") == ["b"]


def test_of_too_many_parts_those_go_that_were_not_found_for_longest() -> None:
    kept: dict[str, Any] = {f"topic:{n}": None for n in range(popular_module.MOST_KEPT)}
    popular_module.keep(kept, {"topic:0": None, "topic:new": None})  # type: ignore[dict-item]
    assert len(kept) == popular_module.MOST_KEPT
    assert list(kept)[-2:] == ["topic:0", "topic:new"] and "topic:1" not in kept
