"""Who lets partitions go does not wait for a ClickHouse that stands still, but for its rows."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from infra.metrics import WorkerMetrics
from infra.settings import Settings
from infra.warehouse import ArchiveWriter, TransientError, Warehouse
from streams import sinks
from streams.recommend import Recommend
from streams.river import River
from streams.sinks import NotOursError, Sinks

ROW = {"id": "e", "received_at": int(time.time() * 1000), "offset": 0}


@pytest.fixture
def silent_url() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"clickhouse://127.0.0.1:{listening.getsockname()[1]}/default"


class Doubtful(Warehouse):
    """The line stands still after the rows were sent; the next attempt is answered."""

    attempts = 0

    def reach(self) -> None:
        return

    def offsets(self, *_: Any) -> list[int]:
        return []

    def query(self, *_: Any) -> list[dict[str, Any]]:
        return [{"n": 0, "ending": 0}]

    def insert(self, *_: Any, **__: Any) -> int:
        self.attempts += 1
        if self.attempts == 1:
            time.sleep(3 * sinks.LEAVE_SECONDS)
            raise TransientError("no answer")
        return 1


def sinks_on(warehouse: Warehouse) -> tuple[River, Sinks]:
    nowhere: Any = None
    river = River(
        Settings(), WorkerMetrics(CollectorRegistry()), nowhere, ArchiveWriter(warehouse), nowhere,
        nowhere,
    )  # fmt: skip
    river.archive.append("interactions", "clicks.v1", 0, ROW)
    return river, Sinks(river, Recommend(river))


def test_a_clickhouse_that_stands_still_does_not_hold_up_who_leaves(
    silent_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "LEAVE_SECONDS", 0.2)
    river, outside = sinks_on(Warehouse(silent_url))

    async def scenario() -> None:
        flushed = asyncio.create_task(outside.flushed())
        await asyncio.sleep(0.5)
        assert not flushed.done()  # who stays waits for it
        outside.leave()
        with pytest.raises(NotOursError, match="ClickHouse"):
            await asyncio.wait_for(flushed, 10)
        assert outside.abandoned
        river.archive.drop()
        river.archive.settled()
        assert river.archive.pending_rows == 0
        river.archive.close()  # ends the thread that still waits

    asyncio.run(scenario())


def test_rows_that_clickhouse_may_have_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "LEAVE_SECONDS", 0.1)
    monkeypatch.setattr(sinks, "RETRY_SECONDS", 0.2)
    warehouse = Doubtful("clickhouse://127.0.0.1:9/default")
    river, outside = sinks_on(warehouse)
    outside.leave()
    asyncio.run(outside.flushed())
    assert warehouse.attempts == 2 and river.archive.pending_rows == 0 and not outside.abandoned


def test_who_leaves_twice_does_not_wait_to_be_assigned_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sinks, "LEAVE_SECONDS", 0.1)
    river, outside = sinks_on(Warehouse("clickhouse://127.0.0.1:9/default"))
    river.archive.drop()
    river.archive.append("interactions", "clicks.v1", 0, ROW)
    outside.leave()
    with pytest.raises(NotOursError):
        asyncio.run(asyncio.wait_for(outside.flushed(), 10))
