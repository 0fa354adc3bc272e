"""What is popular among a topic's items, in a language and on a surface."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest

from infra import warehouse
from infra.local.stack import LocalStack
from infra.warehouse import ArchiveWriter, Warehouse
from streams.catalog import Catalog
from streams.events import Item
from streams.popular_parts import among_items, on_surfaces
from tests.streams.test_limits import new_river


def test_a_topic_and_a_language_have_their_own_lists() -> None:
    river = new_river()
    catalog, learner = Catalog(river), river.learner("t")
    for n in range(6):
        item = Item(
            item_id=f"i{n}", title="x", tenant="t", topics=("odd" if n % 2 else "even", f"rare{n}"),
            language="zh" if n < 3 else None,
        )  # fmt: skip
        catalog._items["t", item.item_id] = item
    taken = [f"i{n}" for n in range(6) for _ in range(10 - n)]
    users = [f"u{n}" for n in range(len(taken))]
    learner.learn(0, users, taken, np.zeros(len(taken), np.int8), np.zeros(len(taken)))
    found = among_items(learner, catalog, "t", 2)
    assert set(found) == {"topic:odd", "topic:even", "language:zh"}
    assert set(found["topic:odd"].items) <= {"i1", "i3", "i5"}
    assert len(found["topic:even"].items) == 2
    assert set(found["language:zh"].items) <= {"i0", "i1", "i2"}
    assert (np.diff(found["topic:odd"].scores) <= 0).all()


@pytest.fixture
def clickhouse_url(stack: LocalStack) -> Iterator[str]:
    url = stack.clickhouse_url.rpartition("/")[0] + "/popular_parts"
    warehouse.migrate(url)
    yield url


def test_a_surface_has_what_most_users_took_there(clickhouse_url: str) -> None:
    archive, now = ArchiveWriter(clickhouse_url), datetime.now(UTC)
    rows = [("app", "a", 3), ("app", "b", 2), ("app", "c", 1), ("web", "c", 2), ("", "d", 9)]
    for at, (surface, item, users) in enumerate(rows):
        for user in range(users):
            archive.append(
                "interactions",
                "clicks.v1",
                0,
                {
                    "tenant": "t", "id": f"{at}-{user}", "type": "click", "user_key": f"u{user}",
                    "item_id": item, "occurred_at": now, "received_at": now, "surface": surface,
                    "topic": "clicks.v1", "partition": 0, "offset": at * 10 + user,
                },
            )  # fmt: skip
    archive.flush()
    client = Warehouse(clickhouse_url)
    found = asyncio.run(on_surfaces(client, "t", 2))
    client.close()
    assert {part: top.items for part, top in found.items()} == {"surface:app": ["a", "b"]}
    nowhere = Warehouse("clickhouse://127.0.0.1:9/default")
    assert asyncio.run(on_surfaces(nowhere, "t", 2)) == {}
