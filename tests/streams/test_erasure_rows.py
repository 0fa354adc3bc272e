"""What is left of an erased user in ClickHouse goes, whoever has his partition, however late."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from infra.local.stack import LocalStack
from infra.metrics import WorkerMetrics
from infra.pseudonym import Pseudonymiser
from infra.settings import Settings
from infra.warehouse import ArchiveWriter, Warehouse, migrate
from streams import erasure_rows, topics
from streams.erasure_rows import ErasedRows, remove_rows
from streams.events import Erasure
from streams.partition import FORMAT, PartitionMeta, PartitionState, decode_meta, encode_meta
from streams.river import River
from tests.streams.test_erased_meanwhile import KeptOutlet

PSEUDONYMS = Pseudonymiser(b"1" * 32)
GONE = PSEUDONYMS.user_key("t", "gone")
NOW = datetime.now(UTC)
DAY_MS = 86_400_000


@pytest.fixture
def warehouse(stack: LocalStack) -> Iterator[Warehouse]:
    url = stack.clickhouse_url.rpartition("/")[0] + f"/erased_{secrets.token_hex(4)}"
    migrate(url)
    made = Warehouse(url)
    yield made
    made.close()


def erased(at: datetime = NOW) -> Erasure:
    return Erasure(
        tenant="t", user_keys=PSEUDONYMS.user_keys("t", "gone"), partition=1, erased_at=at
    )


def comment(at: datetime, label: str = "negative") -> dict[str, Any]:
    return {
        "tenant": "t", "id": "c-1", "user_key": GONE, "item_id": "i", "topics": [],
        "occurred_at": at, "received_at": at, "text": "my secret", "label": label,
        "negative": 0.4, "topic": topics.COMMENTS, "partition": 1, "offset": 7,
    }  # fmt: skip


def insert(warehouse: Warehouse, table: str, row: dict[str, Any]) -> None:
    warehouse.insert(table, {name: [value] for name, value in row.items()}, "")


def comments(warehouse: Warehouse) -> int:
    return int(warehouse.query("SELECT count() AS n FROM scored_comments")[0]["n"])


def house(warehouse: Warehouse, *partitions: int) -> tuple[River, ErasedRows]:
    nowhere: Any = None
    river = River(
        Settings(), WorkerMetrics(CollectorRegistry()), nowhere, ArchiveWriter(warehouse),
        PSEUDONYMS, nowhere,
    )  # fmt: skip
    for number in partitions:
        river.partition_loaded(PartitionState(number, 1))
    return river, ErasedRows(river, warehouse, lambda *_: True)


def noted(river: River, erasure: Erasure, at_ms: float) -> None:
    assert river.erasures.on_erased is not None
    river.erasures.on_erased(erasure, int(at_ms))


async def passes(rows: ErasedRows, seconds: float) -> None:
    running = asyncio.create_task(rows.run())
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_a_request_that_a_worker_reads_days_later_counts_all_the_same(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure_rows, "FIRST_SECONDS", 0.0)
    before = NOW - timedelta(days=3)
    insert(warehouse, "scored_comments", comment(before - timedelta(minutes=1)))
    river, rows = house(warehouse, 1)
    noted(river, erased(before), time.time() * 1000)
    asyncio.run(passes(rows, 2.0))
    assert comments(warehouse) == 0


def test_what_was_noted_long_ago_is_not_done_at_every_start(warehouse: Warehouse) -> None:
    river, rows = house(warehouse, 1)
    noted(river, erased(), time.time() * 1000 - 2 * DAY_MS)
    assert not rows._due


def test_a_partition_that_comes_to_us_has_its_erasures_finished(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure_rows, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(erasure_rows, "RETRY_SECONDS", 0.2)
    insert(warehouse, "scored_comments", comment(NOW))
    river, rows = house(warehouse, 0)  # another one is asked, and waits for ClickHouse

    async def scenario() -> None:
        noted(river, erased(), time.time() * 1000)
        await passes(rows, 1.0)
        assert comments(warehouse) == 1
        river.partition_loaded(PartitionState(1, 2))
        await passes(rows, 2.0)

    asyncio.run(scenario())
    assert comments(warehouse) == 0


@pytest.mark.parametrize("label", ["negative", "neutral"])
def test_an_alert_that_quotes_him_between_the_passes_loses_his_words(
    warehouse: Warehouse, label: str
) -> None:
    insert(warehouse, "scored_comments", comment(NOW, label))
    removed, quoted = remove_rows(warehouse, erased())
    assert removed == 1 and quoted == ("c-1",)
    insert(
        warehouse, "alerts",
        {"tenant": "t", "fingerprint": "f", "key": "item:i", "received_at": NOW,
         "examples": '[{"id": "c-1", "text": "my secret", "negative": 0.9}]', "terms": ["secret"],
         "topic": topics.ALERTS, "partition": 0, "offset": 1},
    )  # fmt: skip
    assert remove_rows(warehouse, erased(), quoted) == (0, ("c-1",))
    assert warehouse.query("SELECT examples, terms FROM alerts") == [
        {"examples": "[]", "terms": []}
    ]


def test_a_request_is_replaced_by_whoever_has_its_partition_then(warehouse: Warehouse) -> None:
    river, rows = house(warehouse)
    kafka = KeptOutlet()
    river.outlet, written = kafka, kafka.written
    former = PartitionState(1, 1)
    former.buried = {"t/gone": 5, "t/later": 9}
    state = PartitionState(1, 2)
    meta, arrays = former.snapshot([])
    state.restore(decode_meta(encode_meta(meta), PartitionMeta, FORMAT), arrays)
    river.partition_loaded(state)
    rows._holds = lambda partition, topic, offset: offset <= 5
    asyncio.run(rows._null_requests())
    assert not written  # he may have come back, and it is not read yet
    state.taken_at -= erasure_rows.RESTORED_SECONDS
    asyncio.run(rows._null_requests())
    assert [(one.key, one.partition) for one in written] == [(b"t/gone", 1)]
    assert state.buried == {"t/later": 9} and state.erased_since  # no checkpoint names him
