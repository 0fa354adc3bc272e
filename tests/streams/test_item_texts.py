"""What the catalogue says of items reaches the learners without holding anything up."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from online import content_index
from online.learner import Learner
from streams.events import Item
from streams.item_texts import AT_ONCE, ItemTexts, Key, spoken_by, terms_said_by


def course(number: int, **changes: Any) -> Item:
    fields: dict[str, Any] = {
        "item_id": f"i{number}", "title": f"{('cooking', 'guitar')[number % 2]} lesson {number}",
        "topics": ("food",) if number % 2 == 0 else ("music",),
    }  # fmt: skip
    return Item(**(fields | changes))


Items = dict[Key, Item]


async def handed_on(texts: ItemTexts, known: Items, *items: Item) -> None:
    for item in items:
        known[item.tenant, item.item_id] = item
        texts.put(item, None)
    running = asyncio.create_task(texts.run())
    while texts.waiting:
        assert not running.done()
        await asyncio.sleep(0.001)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def near(learner: Learner, item: str) -> list[str]:
    return learner.similar(item, 20).items


def test_items_find_each_other_and_a_new_one_is_listed_before_anybody_took_it() -> None:
    learner = Learner()
    known: Items = {}
    texts = ItemTexts(lambda tenant: learner, known.get)
    asyncio.run(handed_on(texts, known, *(course(n) for n in range(3 * AT_ONCE))))
    alike = {f"i{n}" for n in range(2, 3 * AT_ONCE, 2)}
    assert set(near(learner, "i0")[: len(alike)]) == alike
    learner.learn(0, ["u"] * 2, ["i0", "i2"], np.zeros(2, np.int8), np.zeros(2))
    asyncio.run(handed_on(texts, known, course(100)))
    assert "i100" in learner.top_k("u").items


def test_a_changed_text_moves_the_item_and_what_only_costs_more_does_not() -> None:
    learner = Learner()
    known: Items = {}
    texts = ItemTexts(lambda tenant: learner, known.get)
    asyncio.run(handed_on(texts, known, *(course(n) for n in range(20))))
    now = course(0, title="guitar lesson zero", topics=("music",))
    texts.put(course(0, price=3.0, available=False), course(0))
    assert texts.waiting == 0
    asyncio.run(handed_on(texts, known, now))
    assert set(near(learner, "i0")[:10]) == {f"i{n}" for n in range(1, 20, 2)}


def test_an_item_that_is_written_all_the_time_waits_once() -> None:
    texts = ItemTexts(lambda tenant: pytest.fail("nobody asked for a learner"), {}.get)
    before = None
    for version in range(1_000):
        item = course(0, description=f"version {version}")
        texts.put(item, before)
        before = item
    assert texts.waiting == 1


def test_every_tenant_has_its_own_and_odd_items_hold_nobody_up() -> None:
    learners = {name: Learner() for name in ("one", "two")}
    known: Items = {}
    texts = ItemTexts(learners.__getitem__, known.get)
    odd = [
        course(50, tenant="one", title="", topics=()),
        course(51, tenant="one", description="cooking " * 12_000),
        course(52, tenant="one", topics=tuple(f"t{n}" for n in range(60))),
    ]
    items = [course(n, tenant=name) for name in learners for n in range(6)]
    asyncio.run(handed_on(texts, known, *odd, *items))
    assert "i51" in near(learners["one"], "i0")
    assert "i51" not in near(learners["two"], "i0")
    assert near(learners["one"], "i50") == []


def test_tags_say_which_field_they_are_of() -> None:
    item = course(1, level="basic", language="en", provider_id="p", skills=("chords",))
    assert terms_said_by(item)[1] == [
        "topic=music", "skill=chords", "level=basic", "provider=p", "language=en",
    ]  # fmt: skip


def test_a_language_model_reads_the_title_first_and_never_much() -> None:
    item = course(1, description="y" * 100_000, skills=("open-chords",))
    assert spoken_by(item).startswith("guitar lesson 1. music, open chords. yyy")
    assert len(spoken_by(item)) <= 1_000
    assert spoken_by(course(1, title=" ?! ", topics=())) == ""


def test_work_in_a_thread_makes_the_same_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for aside_from in (10_000, 0):
        monkeypatch.setattr(content_index, "ASIDE_FROM", aside_from)
        learners, known = defaultdict(Learner), Items()
        texts = ItemTexts(learners.__getitem__, known.get)
        asyncio.run(handed_on(texts, known, *(course(n) for n in range(40))))
        found.append([near(learners["default"], f"i{n}") for n in range(40)])
    assert found[0] == found[1]
