"""Lists as the API shows them: explored places, and what is popular somewhere."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from infra.serving import ListWrite
from streams import topics
from streams.events import Item
from tests.streams.test_api import put_items, records, shown, stored, until, write

RunningApi = Any  # of conftest.py


def test_explored_places_are_named_and_recorded(running_api: RunningApi) -> None:
    made = msgspec.structs.replace(stored(1, "a", "b", "c", "d"), explored=[(1, 0.5), (3, 0.25)])
    running_api.store.write_many([ListWrite(running_api.tenant, "explorer", made)], 600)
    asked = {"n": 3, "exclude": "a"}
    answer = running_api.client.get("/v1/users/explorer/recommendations", params=asked).json()
    assert [item["reason"] for item in answer["items"]] == ["new", "recent-activity", "new"]
    (record,) = until(lambda: records(running_api, topics.SERVED, "explorer"))
    assert (record["items"], record["explored"]) == (["b", "c", "d"], [0, 2])
    assert record["propensities"] == [0.5, 0.25]


def test_a_part_has_a_popular_list_of_its_own(running_api: RunningApi) -> None:
    tenant, get = running_api.tenant, running_api.client.get
    seq = int(time.time()) + 1
    assert running_api.store.write_popular(tenant, stored(seq, "hit", policy="popular"))
    for part, item in (("topic:jazz", "sax"), ("surface:app", "swipe"), ("language:fr", "sel")):
        assert running_api.store.write_popular(
            f"{tenant}:{part}", stored(1, item, policy="popular")
        )
    assert running_api.store.write_popular(f"{tenant}:surface:tv", stored(1, policy="popular"))
    put_items(
        running_api,
        Item(item_id="sax", title="Sax", tenant=tenant, topics=("jazz",), language="en"),
        Item(item_id="sel", title="Sel", tenant=tenant, language="fr"),
    )
    until(lambda: shown(get("/v1/users/new/recommendations?topic=jazz")) == ["sax"])
    until(lambda: shown(get("/v1/users/new/recommendations?language=fr")) == ["sel"])
    assert shown(get("/v1/users/new/recommendations?topic=jazz&language=fr")) == []
    assert shown(get("/v1/users/new/recommendations?surface=app")) == ["swipe"]
    assert shown(get("/v1/users/new/recommendations?surface=web")) == ["hit"]
    assert shown(get("/v1/users/new/recommendations?surface=tv")) == ["hit"]  # emptied
    write(running_api, "jo", 1, "own")
    assert shown(get("/v1/users/jo/recommendations?surface=app")) == ["own"]
    running_api.client.put("/v1/users/jo", json={"personalise": False})
    assert shown(get("/v1/users/jo/recommendations?surface=app")) == ["swipe"]
