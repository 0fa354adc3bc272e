"""An item is withdrawn by a tombstone, which may be all that compaction leaves of it."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import numpy as np
import pytest

from online import crowding
from online.topk import TopK
from streams import topics
from streams.api_catalogue import KnownItems
from streams.catalog import Catalog
from streams.events import Item, encode
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
        ["gone", "a", "held", "b", "late", "c"], np.arange(6, 0, -1, dtype=np.float32), "popular"
    )
    shown = without_hidden("surface:app", top, catalog, "t", 2)
    assert shown.items == ["a", "b"] and shown.scores.tolist() == [5, 3]
    catalog.hold("t", "held", False)
    assert without_hidden("surface:app", top, catalog, "t", 9).items == ["a", "held", "b", "c"]


def test_the_api_shows_no_item_of_which_only_the_tombstone_is_left() -> None:
    known = KnownItems("kafka://nowhere:1", max_items=10)
    known.take(AFTER_COMPACTION)
    assert known.may_show("t", "a") and not known.may_show("t", "gone")
    known.take([item("gone")])
    assert known.may_show("t", "gone")


def test_the_api_remembers_more_withdrawals_than_items_and_the_newest_of_too_many() -> None:
    known = KnownItems("kafka://nowhere:1", max_items=2)
    gone = [f"gone-{n}" for n in range(40)]
    known.take([Record(f"t/{item_id}".encode(), None) for item_id in gone])
    assert not any(known.may_show("t", item_id) for item_id in gone[-10:])
    assert known.may_show("t", gone[0])


def test_a_worker_remembers_the_newest_of_too_many_withdrawals() -> None:
    river = new_river()
    river.settings = river.settings.model_copy(update={"max_items": 2})
    catalog, gone = Catalog(river), [f"gone-{n}" for n in range(40)]
    asyncio.run(catalog._take([Record(f"t/{item_id}".encode(), None) for item_id in gone]))
    assert not any(catalog.may_show("t", item_id) for item_id in gone[-10:])
    assert catalog.may_show("t", gone[0])


def test_an_item_that_is_put_again_is_shown_though_there_is_no_room_for_its_words() -> None:
    known = KnownItems("kafka://nowhere:1", max_items=1)
    known.take([*AFTER_COMPACTION, item("gone")])
    assert known.may_show("t", "gone")
    unavailable = Item(item_id="gone", title="x", tenant="t", available=False)
    known.take([Record(b"t/gone", encode(unavailable))])
    assert not known.may_show("t", "gone")


def sold_out(item_id: str) -> Record:
    gone = Item(item_id=item_id, title="x", tenant="t", available=False)
    return Record(f"t/{item_id}".encode(), encode(gone))


def test_what_is_sold_out_longest_makes_room_in_a_catalogue_that_is_full() -> None:
    river = new_river()
    river.settings = river.settings.model_copy(update={"max_items": 3})
    catalog, known = Catalog(river), KnownItems("kafka://nowhere:1", max_items=3)
    records = [item("a"), sold_out("old"), sold_out("older"), item("b"), item("c"), item("d")]
    asyncio.run(catalog._take(records))
    known.take(records)
    for item_id in ("a", "b", "c"):
        assert catalog.item(("t", item_id)) is not None
        assert known.words("t", item_id).title == "x"
    for item_id in ("old", "older"):
        assert catalog.item(("t", item_id)) is None
        assert not catalog.may_show("t", item_id) and not known.may_show("t", item_id)
    assert catalog.item(("t", "d")) is None  # all three can be had: nobody makes room
    assert known.words("t", "d").title == "d"


def test_an_item_that_is_to_be_had_again_makes_no_room_for_others() -> None:
    known = KnownItems("kafka://nowhere:1", max_items=2)
    known.take([sold_out("a"), sold_out("b"), item("a"), item("c")])
    assert known.words("t", "a").title == "x" == known.words("t", "c").title
    assert known.may_show("t", "a") and not known.may_show("t", "b")


def test_what_comes_back_in_a_crowded_table_brings_what_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crowding, "FULL", 0.9)  # 19 of 20 are
    river = new_river()
    river.settings = river.settings.model_copy(update={"max_items": 20})
    catalog, learner = Catalog(river), river.learner("t")
    assert learner.config.max_items == 20
    users, items = ["u"] * 19, [f"i{n}" for n in range(19)]
    learner.learn(0, users, items, np.zeros(19, np.int8), np.zeros(19))
    asyncio.run(_handed_on(catalog, lesson("i0"), lesson("late", available=False)))
    catalog.texts.put_vector(("t", "late"), np.ones(4, np.float32))
    asyncio.run(_handed_on(catalog))
    assert learner._shared.items.find("late") < 0, "no slot for what nobody may be shown"
    asyncio.run(_handed_on(catalog, lesson("late")))
    slot = learner._shared.items.find("late")
    assert learner._shared.model.content.listed[slot] == 1
    assert not catalog.texts._vectors, "its vector went with it"


def lesson(item_id: str, available: bool = True) -> Record:
    said = Item(item_id=item_id, title="guitar lesson", tenant="t", available=available)
    return Record(f"t/{item_id}".encode(), encode(said))


async def _handed_on(catalog: Catalog, *records: Any) -> None:
    if records:
        await catalog._take(list(records))
    while catalog.texts.waiting:
        await catalog.texts._hand_on()
        await asyncio.sleep(0.05)
