"""Recording what was shown never holds a reader up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
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
        await recorder.flush()
        run.cancel()
        users = [msgspec.json.decode(record.value)["user_id"] for record in outlet.written]
        assert users == ["first", "u0", "u1", "u2"]
        assert outlet.written[0].key == b"default/first"
        name = "springtide_api_served_total"
        assert registry.get_sample_value(name, {"outcome": "dropped"}) == 2
        await asyncio.gather(run, return_exceptions=True)

    asyncio.run(scenario())
