"""An item is withdrawn by a tombstone, which may be all that compaction leaves of it."""

from __future__ import annotations

import asyncio
import math
from typing import Any, NamedTuple

import numpy as np

from infra.serving import StoredList
from online.topk import TopK
from streams import topics
from streams.api_catalogue import KnownItems
from streams.catalog import Catalog
from streams.events import Item, encode
from streams.partition import PartitionState
from streams.popular import Popular
from streams.popular_parts import without_hidden
from tests.streams.test_limits import new_river


class Record(NamedTuple):
    key: bytes
    value: bytes | None
    topic: str = topics.ITEMS
    partition: int = 0
    offset: int = 0
    timestamp: int = 0


def item(item_id: str) -> Record:
    return Record(f"t/{item_id}".encode(), encode(Item(item_id=item_id, title="x", tenant="t")))


AFTER_COMPACTION: list[Any] = [item("a"), Record(b"t/gone", None)]


def test_a_worker_lists_no_item_of_which_only_the_tombstone_is_left() -> None:
    river = new_river()
    learner = river.learner("t")  # from its checkpoint: users have it
    learner.learn(0, ["u", "v", "v"], ["gone", "gone", "a"], np.zeros(3, np.int8), np.zeros(3))
    catalog = Catalog(river)
    asyncio.run(catalog._take(AFTER_COMPACTION))
    assert learner.popular().items == ["a"]
    catalog.hold("t", "gone", True)
    catalog.hold("t", "gone", False)
    assert learner.popular().items == ["a"]
    asyncio.run(catalog._take([item("gone")]))
    assert set(learner.popular().items) == {"a", "gone"}


def test_a_tombstone_of_nothing_makes_no_tenant() -> None:
    river = new_river()
    asyncio.run(Catalog(river)._take([Record(b"", None), Record(b"NO/x", None)]))
    assert not river.learners


def test_a_list_that_was_counted_earlier_shows_nothing_hidden() -> None:
    catalog = Catalog(new_river())
    asyncio.run(catalog._take([*AFTER_COMPACTION, item("late"), Record(b"t/late", None)]))
    catalog.hold("t", "held", True)
    top = TopK(
        ["gone", "a", "held", "b", "late", "c"], np.arange(6, 0, -1.0, np.float32), "popular"
    )
    shown = without_hidden(top, catalog, "t", 2)
    assert shown.items == ["a", "b"] and shown.scores.tolist() == [5, 3]
    catalog.hold("t", "held", False)
    assert without_hidden(top, catalog, "t", 9).items == ["a", "held", "b", "c"]


class Store:
    """What is written as popular."""

    transient_errors = ()

    def __init__(self) -> None:
        self.lists: dict[str, list[str]] = {}

    async def next_epoch(self, *_: object) -> int:
        return 1

    async def write_popular(self, name: str, stored: StoredList) -> bool:
        self.lists[name] = stored.items
        return True


def test_the_list_of_a_topic_is_emptied_when_all_its_items_are_withdrawn() -> None:
    river, store = new_river(), Store()
    river.store = store  # type: ignore[assignment]
    river.partitions[0] = PartitionState(0, 1)
    catalog = Catalog(river)
    popular = Popular(river, catalog, None)  # type: ignore[arg-type]
    popular._surfaces_at = math.inf
    river.learner("t").learn(0, ["u"] * 3, ["a", "b", "c"], np.zeros(3, np.int8), np.zeros(3))
    for item_id in "ab":
        catalog._put(Item(item_id=item_id, title="x", tenant="t", topics=("art",)))
    asyncio.run(popular.refresh())
    assert set(store.lists["t:topic:art"]) == {"a", "b"}
    for item_id in "ab":
        catalog._withdraw(f"t/{item_id}")
    popular._parts_at = 0.0
    asyncio.run(popular.refresh())
    assert store.lists == {"t": ["c"], "t:topic:art": []}


def test_the_api_shows_no_item_of_which_only_the_tombstone_is_left() -> None:
    known = KnownItems("kafka://nowhere:1", max_items=10)
    known.take(AFTER_COMPACTION)
    assert known.may_show("t", "a") and not known.may_show("t", "gone")
    known.take([item("gone")])
    assert known.may_show("t", "gone")
