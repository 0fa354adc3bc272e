"""An alert waits for no ClickHouse: refusing, silent or away, it is told without its causes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping
from typing import Any

import pytest

from infra.warehouse import ArchiveWriter, Warehouse, WarehouseError
from online.spikes import Alarm
from streams import monitor_causes
from streams.monitor_causes import CauseFinder, Causes
from streams.monitor_comments import CommentsAround

NOWHERE = "clickhouse://127.0.0.1:1/default"


class Refusing(Warehouse):
    """A quota is spent, or the user may not read: no error that passes by itself."""

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        raise WarehouseError("Code: 201. Quota for user worker has been exceeded")


def finder(warehouse: Warehouse) -> CauseFinder:
    return CauseFinder(CommentsAround(warehouse, ArchiveWriter(NOWHERE)))


def alarm() -> Alarm:
    now = time.time()
    return Alarm("item:i", "share", "firing", "f", now, now, 5, 9, 9, 1.0, 0.2, 5.0, "minor")


def test_a_clickhouse_that_refuses_is_in_no_alerts_way() -> None:
    assert asyncio.run(finder(Refusing(NOWHERE)).find("t", alarm(), "")) == Causes()


def test_a_clickhouse_that_is_away_is_in_no_alerts_way() -> None:
    assert asyncio.run(finder(Warehouse(NOWHERE)).find("t", alarm(), "")) == Causes()


def test_a_clickhouse_that_never_answers_costs_its_patience_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(monitor_causes, "PATIENCE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
        ours = finder(Warehouse(f"clickhouse://127.0.0.1:{silent.getsockname()[1]}/default"))

        async def run() -> float:
            began = time.monotonic()
            for _ in range(20):
                assert await ours.find("t", alarm(), "") == Causes()
            return time.monotonic() - began

        assert asyncio.run(run()) < 3.0
