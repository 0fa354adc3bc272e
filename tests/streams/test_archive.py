"""What the archive agent appends, when batches come twice or partitions go meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from infra.metrics import WorkerMetrics
from infra.settings import Settings
from infra.warehouse import ArchiveWriter
from streams import archive, topics
from streams.archive import Archive
from streams.batch_consumer import Batch
from streams.events import Alert, encode
from streams.river import River

NOW = datetime.now(UTC)
ALERT = Alert(
    fingerprint="f", tenant="t", key="item:a", channel="share", state="firing", started_at=NOW,
    raised_at=NOW, evidence=9.0, threshold=5.0, negatives=9, comments=10, share=0.9, baseline=0.1,
    effect=1.0, severity="minor",
)  # fmt: skip


def alerts(river: River, *offsets: int) -> Batch:
    value, n = encode(ALERT), len(offsets)
    return Batch(
        topics.ALERTS, 0, list(offsets), [b"k"] * n, [value] * n, [0] * n,
        generation=river.generation,
    )  # fmt: skip


def offsets_waiting(river: River) -> list[int]:
    return [offset for part in river.archive.waiting("alerts") for offset in part["offset"]]


@pytest.fixture
def river() -> River:
    nowhere: Any = None
    writer = ArchiveWriter("clickhouse://127.0.0.1:9/default")
    return River(Settings(), WorkerMetrics(CollectorRegistry()), nowhere, writer, nowhere, nowhere)


def test_what_was_fetched_twice_is_archived_once(river: River) -> None:
    async def scenario() -> None:
        agent = Archive(river, None)  # type: ignore[arg-type]
        for batch in (alerts(river, 0, 1, 2), alerts(river, 1, 2), alerts(river, 2, 3)):
            await agent.handle(batch)
            event = SimpleNamespace(message=SimpleNamespace())
            river.acknowledge_later(event, batch, river.generation)

    asyncio.run(scenario())
    assert offsets_waiting(river) == [0, 1, 2, 3]
    assert river.next_offset(topics.ALERTS, 0) == 4


def test_partitions_handed_out_while_words_are_looked_for_leave_one_row(
    river: River, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(_: Any, alert: Alert) -> Alert:
        asked.set()
        await go_on.wait()
        return msgspec.structs.replace(alert, title="with words")

    async def scenario() -> None:
        monkeypatch.setattr(archive, "with_words", slowly)
        agent = Archive(river, None)  # type: ignore[arg-type]
        former = asyncio.create_task(agent.handle(alerts(river, 7)))
        await asyncio.wait_for(asked.wait(), 5)
        river.new_generation()
        river.archive.drop()
        go_on.set()
        await former
        await agent.handle(alerts(river, 7))

    asyncio.run(scenario())
    assert offsets_waiting(river) == [7]
