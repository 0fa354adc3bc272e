"""GET /v1/interests/suggest: what a sign-up page offers; and what reasons name."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from dashboards.user_lists import ItemWords
from infra.serving import ListWrite
from streams.api_interests import Suggestions, ranked
from streams.api_recommendations import interest_met
from streams.events import Item
from tests.streams.test_api import put_items, stored, until

RunningApi = Any  # of conftest.py


def words(*tags: str) -> ItemWords:
    return ItemWords("a title", tags)


def test_tags_are_offered_that_cover_what_those_before_do_not() -> None:
    items = {f"m{n}": words("music", "piano", "all") for n in range(10)}
    items |= {f"c{n}": words("cooking", "all") for n in range(6)}
    items |= {f"d{n}": words("data", "all") for n in range(5)} | {"x": words("odd")}
    order = [tag.interest for tag in ranked(items.items(), ())]
    assert set(order[:3]) in ({"music", "cooking", "data"}, {"piano", "cooking", "data"})
    assert order[-1] == "all"  # tells nobody apart
    assert "odd" not in order  # of one item alone
    assert ranked(items.items(), ["d0", "d1", "d2", "d3"])[0].interest == "data"
    assert ranked((), ()) == []


def test_many_who_ask_at_once_have_them_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def slowly(items: Any, popular: Any) -> Any:
        made.append(1)
        time.sleep(0.05)
        return ranked(items, popular)

    async def popular(_: str) -> None:
        await asyncio.sleep(0)

    async def scenario() -> None:
        shown = {f"m{n}": words("music") for n in range(3)}
        parts: Any = SimpleNamespace(
            store=SimpleNamespace(popular=popular),
            items=SimpleNamespace(shown=lambda *_: shown.items()),
        )
        suggestions = Suggestions()
        found = await asyncio.gather(*(suggestions.ranked(parts, "t", "") for _ in range(50)))
        assert all([tag.interest for tag in each] == ["music"] for each in found)

    monkeypatch.setattr("streams.api_interests.ranked", slowly)
    asyncio.run(scenario())
    assert len(made) == 1


def test_whatever_language_is_asked_for_the_catalogue_is_gone_through_once() -> None:
    looked: list[str] = []

    def shown(tenant: str) -> Any:
        looked.append(tenant)
        spoken = ("en", "en", "zh", "zh", "")
        return (
            (f"{n}", ItemWords("t", (f"in-{each}",), (), each)) for n, each in enumerate(spoken)
        )

    async def popular(_: str) -> None:
        await asyncio.sleep(0)

    async def scenario() -> dict[str, list[str]]:
        parts: Any = SimpleNamespace(
            store=SimpleNamespace(popular=popular), items=SimpleNamespace(shown=shown)
        )
        suggestions = Suggestions()
        asked = ["en", "zh", "", *(f"x{n}" for n in range(50))] * 2
        found = {each: await suggestions.ranked(parts, "t", each) for each in asked}
        return {each: [tag.interest for tag in tags] for each, tags in found.items() if tags}

    assert asyncio.run(scenario()) == {"en": ["in-en"], "zh": ["in-zh"], "": ["in-en", "in-zh"]}
    assert looked == ["t"]


def test_suggestions_begin_with_what_was_typed(running_api: RunningApi) -> None:
    tenant, client = running_api.tenant, running_api.client
    put_items(
        running_api,
        *(
            Item(
                item_id=f"{topic}-{n}", title=f"{topic} {n}", tenant=tenant, topics=(topic,),
                skills=(skill,), language=language,
            )
            for topic, skill, language in (
                ("suggest-music", "Grand Piano", "en"), ("suggest-数据", "SQL", "zh"),
            )
            for n in range(3)
        ),
    )  # fmt: skip

    def suggested(**query: str) -> list[str]:
        answer = client.get("/v1/interests/suggest", params=query)
        assert answer.status_code == 200, answer.text
        return [each["interest"] for each in answer.json()["interests"]]

    until(lambda: set(suggested(q="suggest", language="en")) == {"suggest-music"}, 40)
    assert suggested(q="pian", language="en") == ["Grand Piano"]
    assert suggested(q="suggest-数", language="zh") == ["suggest-数据"]
    assert suggested(language="none") == []
    assert len(suggested(language="en", n="1")) == 1
    assert client.get("/v1/interests/suggest", params={"n": "0"}).status_code == 400


def test_a_reason_names_what_brought_an_item_that_few_took(running_api: RunningApi) -> None:
    tenant, client = running_api.tenant, running_api.client
    put_items(
        running_api,
        Item(item_id="had", title="爵士钢琴即兴", tenant=tenant, topics=("piano",)),
        Item(item_id="alike", title="古典钢琴入门", tenant=tenant, topics=("piano", "classic")),
        Item(item_id="meant", title="Chords and keys", tenant=tenant),
    )
    made = msgspec.structs.replace(
        stored(1, "alike", "meant", "known"), near=[("alike", "had"), ("meant", "had")]
    )
    assert running_api.store.write_many([ListWrite(tenant, "finn", made)], 600) == [True]
    wanted = ["text:piano, 钢琴", "text", "recent-activity"]

    def reasons() -> list[str]:
        items = client.get("/v1/users/finn/recommendations").json()["items"]
        return [each["reason"] for each in items]

    until(lambda: reasons() == wanted, 40)


@pytest.mark.parametrize(
    ("interest", "met"),
    [("music", "music"), ("Grand Piano", "Grand Piano"), ("sonata", "sonata"), ("oboe", None)],
)
def test_a_reason_names_the_interest(interest: str, met: str | None) -> None:
    item = ItemWords("A Sonata a Day", ("music",), ("Grand Piano",))
    assert interest_met(item, ("", interest)) == met
