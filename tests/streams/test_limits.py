"""What happens at a limit of docs/limits.md that no other test reaches."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from infra.metrics import WorkerMetrics
from infra.pseudonym import Pseudonymiser
from infra.settings import Settings
from infra.warehouse import ArchiveWriter
from streams import river as rivers
from streams import topics
from streams.api_answers import EventBatch
from streams.batch_consumer import Batch
from streams.learn import Learn
from streams.partition import PartitionState
from streams.recommend import Recommend
from streams.river import MAX_ARCHIVE_ROWS, MAX_UNACKNOWLEDGED, River

ROOT = Path(__file__).parents[2]


def new_river() -> River:
    nowhere: Any = None  # no sink is reached in these tests
    pseudonyms = Pseudonymiser(b"1" * 32)
    archive = ArchiveWriter("clickhouse://127.0.0.1:9/default")
    metrics = WorkerMetrics(CollectorRegistry())
    return River(Settings(), metrics, nowhere, archive, pseudonyms, nowhere)


def click(tenant: str) -> bytes:
    fields = {
        "id": "1", "type": "click", "occurred_at": "2026-01-01T00:00:00Z", "user_id": "u",
        "item_id": "i", "tenant": tenant,
    }  # fmt: skip
    return json.dumps(fields).encode()


def test_a_tenant_too_many_goes_to_the_dead_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivers, "MAX_TENANTS", 2)
    river = new_river()
    river.learner("one")
    river.learner("two")
    learn = Learn(river, Recommend(river))
    values: list[bytes | None] = [click("two"), click("three"), click("one")]
    batch = Batch(topics.CLICKS, 0, [0, 1, 2], [b"k"] * 3, values, [0] * 3)
    decoded, rejected = learn._decode(batch, PartitionState(0, 1))
    assert [message.tenant for message in decoded.messages] == ["two", "one"]
    assert rejected == [(1, "too many tenants on this worker")]
    assert set(river.learners) == {"one", "two"}


@pytest.mark.parametrize(("waiting", "welcome"), [(MAX_UNACKNOWLEDGED - 1, True),
                                                  (MAX_UNACKNOWLEDGED, False)])  # fmt: skip
def test_agents_wait_while_too_much_is_unacknowledged(waiting: int, welcome: bool) -> None:
    async def scenario() -> bool:
        river = new_river()
        river.unacknowledged = [(None, waiting)]
        admission = asyncio.create_task(river.admit())
        await asyncio.sleep(0.01)
        let_in = admission.done()
        river.unacknowledged = []
        await river.room_made()
        await asyncio.wait_for(admission, 1)  # and go on once there is room
        return let_in

    assert asyncio.run(scenario()) is welcome


def test_agents_wait_while_too_many_rows_wait_for_clickhouse() -> None:
    river = new_river()
    rows = {"tenant": ["t"] * MAX_ARCHIVE_ROWS}
    river.archive.append_columns("list_writes", "", 0, rows)
    assert not river._has_room()


@pytest.mark.parametrize(("events", "taken"), [(1_000, True), (1_001, False)])
def test_a_request_of_so_many_events(events: int, taken: bool) -> None:
    body = json.dumps({"events": [{}] * events}).encode()
    try:
        msgspec.json.decode(body, type=EventBatch)
        assert taken
    except msgspec.ValidationError:
        assert not taken


def test_every_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "limits.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page)
    assert len(named) > 10
    for path, test in named:
        text = (ROOT / path).read_text("utf-8")
        assert f"def {test}" in text
