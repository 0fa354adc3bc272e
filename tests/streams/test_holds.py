"""An item in a severe incident is in no list until it ends, on a real Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from infra.local.stack import LocalStack
from infra.metrics import WorkerMetrics
from infra.pseudonym import Pseudonymiser
from infra.serving import AsyncRedisTopKStore
from infra.settings import Settings
from infra.warehouse import ArchiveWriter
from streams import topics
from streams.api_catalogue import KnownItems
from streams.catalog import Catalog
from streams.events import Alert, Item, encode, item_key
from streams.holds import LONGEST_MS, Holds
from streams.outlet import Outgoing, Outlet
from streams.river import River

pytestmark = pytest.mark.kafka

ITEMS = [f"course-{n}" for n in range(6)]
NOW = datetime.now(UTC)


def alert(tenant: str, item: str, **changes: Any) -> Alert:
    fields: dict[str, Any] = {
        "fingerprint": "f1", "tenant": tenant, "key": f"item:{item}", "channel": "share",
        "state": "firing", "severity": "severe", "started_at": NOW, "raised_at": NOW,
        "evidence": 12.0, "threshold": 4.0, "negatives": 30, "comments": 33, "share": 0.9,
        "baseline": 0.1, "effect": 9.0,
    }  # fmt: skip
    return Alert(**(fields | changes))


class House:
    """A worker's catalogue and the API's, each told by its own Holds."""

    def __init__(self, stack: LocalStack, folder: Path, store: Any, outlet: Outlet) -> None:
        settings = Settings(kafka_url=stack.kafka_url, data_dir=folder, hold_items=True)
        self.tenant = f"holds-{secrets.token_hex(4)}"
        self.outlet, self.metrics = outlet, WorkerMetrics(CollectorRegistry())
        archive = ArchiveWriter(stack.clickhouse_url)
        pseudonyms = Pseudonymiser.from_settings(None, folder)
        self.river = River(settings, self.metrics, store, archive, pseudonyms, outlet)
        self.catalog = Catalog(self.river)
        self.known = KnownItems(stack.kafka_url, 1_000, hold_items=True)
        self.holds = Holds(stack.kafka_url, self.catalog.hold)
        users = [f"u{n % 3}" for n in range(len(ITEMS))]
        kinds, times = np.zeros(len(ITEMS), np.int8), np.arange(len(ITEMS), dtype=float)
        self.river.learner(self.tenant).learn(0, users, ITEMS, kinds, times)

    async def tell(self, item: str, **changes: Any) -> float:
        """Put an alert on alerts.v1; when."""
        told = alert(self.tenant, item, **changes)
        key = item_key(self.tenant, told.key)
        await self.outlet.write([Outgoing(topics.ALERTS, key, encode(told), 0)])
        return time.monotonic()

    def listed(self) -> set[str]:
        """What both the worker's lists and the API show; nothing while they differ."""
        found = set(self.river.learner(self.tenant).popular(10).items)
        shown = {item for item in ITEMS if self.known.may_show(self.tenant, item)}
        return found if found == shown else set()

    def held(self) -> set[str]:
        """Of this house; the metric counts those of other tests' alerts as well."""
        every = self.holds._held
        assert self.metrics.held._value.get() == len(every)
        return {item for tenant, item in every if tenant == self.tenant}

    async def until_listed(self, wanted: set[str], since: float) -> None:
        while self.listed() != wanted:
            assert time.monotonic() - since < 20, self.listed()
            await asyncio.sleep(0.01)
        print(f"{len(wanted)} items listed after {time.monotonic() - since:.3f} s")


@contextlib.asynccontextmanager
async def opened(stack: LocalStack, folder: Path) -> AsyncIterator[House]:
    topics.apply(stack.kafka_url)
    store = await AsyncRedisTopKStore.connect(stack.redis_url)
    outlet = Outlet(stack.kafka_url)
    await outlet.start()
    house = House(stack, folder, store, outlet)
    runs = [asyncio.create_task(run()) for run in (house.holds.run, house.known.run)]
    try:
        yield house
    finally:
        await ended(runs)
        await outlet.stop()
        await store.close()


async def ended(runs: list[asyncio.Task[None]]) -> None:
    for task in runs:
        task.cancel()
    how = await asyncio.gather(*runs, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in how), how


def test_a_severe_incident_holds_an_item_until_it_ends(stack: LocalStack, tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(stack, tmp_path) as house:
            everything = set(ITEMS)
            await house.tell("course-1", severity="major", fingerprint="f0")
            await house.tell("course-2", historic=True, fingerprint="f2")
            since = await house.tell("course-3")
            await house.until_listed(everything - {"course-3"}, since)
            assert house.held() == {"course-3"}
            # What the platform says of an item meanwhile does not bring it back.
            house.catalog._put(Item(item_id="course-3", title="", tenant=house.tenant))
            assert "course-3" not in house.listed()
            since = await house.tell("course-3", state="resolved")
            await house.until_listed(everything, since)
            assert house.held() == set()
            # Nor does the end of an incident bring back what the platform has withdrawn.
            house.catalog._withdraw(f"{house.tenant}/course-3")
            house.catalog.hold(house.tenant, "course-3", True)
            house.catalog.hold(house.tenant, "course-3", False)
            assert "course-3" not in house.river.learner(house.tenant).popular(10).items

    asyncio.run(run())


class Record:
    def __init__(self, told: Alert, at: int = 0) -> None:
        self.value, self.timestamp = encode(told), at


def test_after_a_restart_only_what_is_open_is_held() -> None:
    told: list[tuple[str, str, bool]] = []
    tell: Callable[[str, str, bool], None] = lambda *change: told.append(change)  # noqa: E731
    holds = Holds("kafka://nowhere:1", tell)
    past = [alert("t", "a"), alert("t", "b"), alert("t", "a", state="resolved")]
    holds.take([*map(Record, past), Record(alert("t", "c", key="topic:c"))], now_ms=1.0)
    assert told == [("t", "b", True)]
    holds.take([Record(alert("t", "b", state="resolved", fingerprint="another"))], now_ms=1.0)
    assert len(told) == 1
    holds.take([], now_ms=LONGEST_MS + 1.0)
    assert told[1:] == [("t", "b", False)]
