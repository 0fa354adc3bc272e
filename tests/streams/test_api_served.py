"""Recording what was shown never holds a reader up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from infra.metrics import ApiMetrics
from streams.api_served import ServedRecorder
from streams.events import Served
from streams.outlet import Outgoing, Outlet


class GatedOutlet(Outlet):
    """Keeps records until it is let go, as Kafka does that is slow to answer."""

    def __init__(self) -> None:
        super().__init__("kafka://127.0.0.1:9")
        self.open = asyncio.Event()
        self.written: list[Outgoing] = []

    async def write(self, records: Sequence[Outgoing]) -> None:
        await self.open.wait()
        self.written += records


def served(user: str) -> Served:
    return Served(user_id=user, list_version="1-1", items=("a",), served_at=datetime.now(UTC))


def test_too_many_waiting_are_dropped_and_counted() -> None:
    async def scenario() -> None:
        registry = CollectorRegistry()
        outlet = GatedOutlet()
        recorder = ServedRecorder(outlet, ApiMetrics(registry), max_waiting=3)
        run = asyncio.create_task(recorder.run())
        assert recorder.record(served("first"))
        await asyncio.sleep(0)  # taken from the queue, and stuck at Kafka
        assert [recorder.record(served(f"u{i}")) for i in range(5)] == [True] * 3 + [False] * 2
        outlet.open.set()
        assert await recorder.flush() == 0
        run.cancel()
        users = [msgspec.json.decode(record.value)["user_id"] for record in outlet.written]
        assert users == ["first", "u0", "u1", "u2"]
        assert outlet.written[0].key == b"default/first"
        name = "springtide_api_served_total"
        assert registry.get_sample_value(name, {"outcome": "dropped"}) == 2
        await asyncio.gather(run, return_exceptions=True)

    asyncio.run(scenario())


class SteadyOutlet(GatedOutlet):
    """Kafka takes a while for each batch, and readers never pause."""

    def __init__(self) -> None:
        super().__init__()
        self.recorder: ServedRecorder | None = None

    async def write(self, records: Sequence[Outgoing]) -> None:
        assert self.recorder is not None
        self.recorder.record(served("another"))
        await asyncio.sleep(0.01)
        self.written += records


def test_who_is_erased_waits_for_his_own_lists_and_for_no_later_ones() -> None:
    async def scenario() -> None:
        registry = CollectorRegistry()
        outlet = SteadyOutlet()
        outlet.recorder = recorder = ServedRecorder(outlet, ApiMetrics(registry))
        run = asyncio.create_task(recorder.run())
        recorder.record(served("gone"))
        async with asyncio.timeout(1):
            assert await recorder.flush() == 0
        assert msgspec.json.decode(outlet.written[0].value or b"")["user_id"] == "gone"
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        assert not registry.get_sample_value("springtide_api_served_total", {"outcome": "dropped"})

    asyncio.run(scenario())


def test_what_is_not_written_at_the_end_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.api_served.CLOSING_SECONDS", 0.05)

    async def scenario() -> None:
        registry = CollectorRegistry()
        recorder = ServedRecorder(GatedOutlet(), ApiMetrics(registry))
        run = asyncio.create_task(recorder.run())
        for number in range(3):
            recorder.record(served(f"u{number}"))
        assert await recorder.flush() == 3
        await recorder.close()
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        name = "springtide_api_served_total"
        assert registry.get_sample_value(name, {"outcome": "dropped"}) == 3

    asyncio.run(scenario())
