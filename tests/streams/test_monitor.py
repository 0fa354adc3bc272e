"""Alarms on their way out, on real parts: alerts.v1, Redis, the webhook, ClickHouse's texts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import redis
from prometheus_client import CollectorRegistry

from infra import warehouse
from infra.alerting import AlertSender
from infra.local.stack import LocalStack
from infra.metrics import WorkerMetrics
from infra.pseudonym import Pseudonymiser
from infra.serving import AsyncRedisTopKStore
from infra.settings import Settings
from infra.warehouse import ArchiveWriter, Warehouse
from online.checkpoint import Checkpoint
from streams import topics
from streams.batch_consumer import Batch
from streams.catalog import Catalog
from streams.events import Alert, Sentiment, encode
from streams.monitor import Monitor
from streams.monitor_told import read_alerts
from streams.outlet import Outlet
from streams.quotes import with_words
from streams.river import River

pytestmark = pytest.mark.kafka

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
TEXTS = (
    "The video stops after two minutes, nobody answers",
    "I paid for a certificate and never got one!",
    "Refund me: the course is a recording from 2019",
    "Worst support I have met anywhere",
    "课程打不开，客服也不理人",
    "Half of the lessons are missing since yesterday",
)


class House:
    """A monitor with real neighbours; `again` is what a crash and a restart leave of it."""

    def __init__(self, stack: LocalStack, folder: Path, webhook: str | None = None) -> None:
        self.stack, self.folder = stack, folder
        self.settings = Settings(
            kafka_url=stack.kafka_url,
            redis_url=stack.redis_url,
            clickhouse_url=stack.clickhouse_url,
            data_dir=folder,
        )
        self.outlet = Outlet(stack.kafka_url)
        self.sender = AlertSender(stack.webhook_url if webhook is None else webhook, "")
        self.task: asyncio.Task[None] | None = None

    async def open(self, found: Checkpoint | None = None) -> House:
        self.store = await AsyncRedisTopKStore.connect(self.stack.redis_url)
        self.archive = ArchiveWriter(self.stack.clickhouse_url)
        self.river = River(
            self.settings,
            WorkerMetrics(CollectorRegistry()),
            self.store,
            self.archive,
            Pseudonymiser.from_settings(None, self.folder),
            self.outlet,
        )
        await self.outlet.start()
        self.warehouse = Warehouse(self.stack.clickhouse_url)
        self.monitor = Monitor(self.river, Catalog(self.river), self.warehouse, self.sender)
        self.monitor.take_over(1 if found is None else found.epoch + 1, found)
        return self

    def run(self) -> None:
        self.task = asyncio.create_task(self.monitor.run())

    async def close(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        await self.sender.close()
        await self.outlet.stop()
        await self.store.close()
        self.archive.close()
        self.warehouse.close()

    def checkpoint(self) -> Checkpoint:
        arrays, header = self.monitor.snapshot()
        return Checkpoint(1, header, arrays, 0)

    async def told(self, tenant: str) -> list[Alert]:
        return [a for a in await read_alerts(self.stack.kafka_url) if a.tenant == tenant]

    async def until(self, done: Callable[[], Awaitable[Any]], seconds: float = 20.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := await done()):
            assert time.monotonic() < deadline, "waited in vain"
            await asyncio.sleep(0.1)
        return value


def comments(tenant: str, scandal: bool = True) -> list[Sentiment]:
    """Three days of 20 % negatives on ten courses, then one course's scandal: half an hour."""
    rng = np.random.default_rng(4)
    minutes = np.sort(rng.uniform(-3 * 1_440, 0, 1_500))
    told = [(m, f"course-{rng.integers(10)}", rng.random() < 0.2) for m in minutes]
    if scandal:
        told += [(m, "course-3", True) for m in np.sort(rng.uniform(0, 30, 60))]
    return [
        Sentiment(
            id=f"c{n}",
            tenant=tenant,
            item_id=item,
            label="negative" if negative else "positive",
            negative=0.9 if negative else 0.1,
            occurred_at=START + timedelta(minutes=float(minute)),
            model_version="test",
            source_partition=0,
            source_offset=n,
        )
        for n, (minute, item, negative) in enumerate(told)
    ]


def batches(messages: list[Sentiment], size: int = 200, first: int = 0) -> list[Batch]:
    made = []
    for start in range(0, len(messages), size):
        part = messages[start : start + size]
        offsets = list(range(first + start, first + start + len(part)))
        keys: list[bytes | None] = [f"{m.tenant}/u{m.id}".encode() for m in part]
        values: list[bytes | None] = [encode(m) for m in part]
        made.append(Batch(topics.SENTIMENT, 0, offsets, keys, values, [0] * len(part)))
    return made


def archived(house: House, tenant: str, messages: list[Sentiment]) -> None:
    """What `score` writes to ClickHouse."""
    for n, message in enumerate(messages):
        row = {
            "tenant": tenant, "id": message.id, "user_key": "", "item_id": message.item_id,
            "topics": [], "occurred_at": message.occurred_at, "received_at": datetime.now(UTC),
            "text": TEXTS[n % len(TEXTS)] + "!" * (n % 3), "label": message.label,
            "negative": message.negative, "neutral": 0.0, "positive": 0.0,
            "model_version": "test", "language": "", "author_cluster": "", "flagged": 0,
            "surface": "app" if message.negative > 0.5 else "web",
            "topic": f"comments-of-{tenant}", "partition": 0, "offset": n,
        }  # fmt: skip
        house.archive.append("scored_comments", f"comments-of-{tenant}", 0, row)
        if n == len(messages) // 2:  # ClickHouse has the past, the archive still holds the rest
            house.archive.flush()


@pytest.fixture(scope="module")
def parts(stack: LocalStack) -> LocalStack:
    topics.apply(stack.kafka_url)
    warehouse.migrate(stack.clickhouse_url)
    return stack


def test_an_alarm_reaches_topic_redis_and_webhook_with_its_comments(
    parts: LocalStack, tmp_path: Path
) -> None:
    asyncio.run(_reaches_everyone(parts, tmp_path))


async def _reaches_everyone(parts: LocalStack, folder: Path) -> None:
    house, tenant = await House(parts, folder).open(), "reaches"
    listener = redis.Redis.from_url(parts.redis_url).pubsub()
    listener.subscribe(f"alerts:{tenant}")
    messages = comments(tenant)
    archived(house, tenant, messages)
    house.run()
    for batch in batches(messages):
        await house.monitor.handle(batch)

    async def on_topic() -> list[Alert]:
        return [a for a in await house.told(tenant) if a.key == "item:course-3"]

    alert = (await house.until(on_topic))[0]
    assert alert.state == "firing" and not alert.historic
    assert abs(alert.started_at - START) < timedelta(hours=1)
    assert alert.share > 0.7 and alert.baseline < 0.3 and alert.evidence >= alert.threshold
    assert alert.parent == "tenant" and alert.slices and alert.link.endswith(alert.fingerprint)
    assert alert.terms
    assert len(alert.examples) == 5 and not any(example.text for example in alert.examples)
    house.archive.flush()
    kept = await with_words(Warehouse(parts.clickhouse_url), alert)  # as the archive keeps it
    texts = [example.text.rstrip("!") for example in kept.examples]
    assert len(set(texts)) == len(texts) == 5
    assert set(texts) <= {text.rstrip("!") for text in TEXTS}

    async def received() -> Any:
        found = [a for a in parts.received_alerts() if a["labels"]["tenant"] == tenant]
        return [a for a in found if a["fingerprint"] == alert.fingerprint]

    webhook = (await house.until(received))[0]
    assert webhook["labels"]["key"] == "item:course-3" and webhook["status"] == "firing"
    heard = []
    while (message := listener.get_message(timeout=1.0)) is not None:
        if message["type"] == "message":
            heard.append(msgspec.json.decode(message["data"], type=Alert))
    assert kept in heard
    listener.close()
    await house.close()


def test_a_crash_in_an_incident_loses_no_alert_and_makes_no_second(
    parts: LocalStack, tmp_path: Path
) -> None:
    asyncio.run(_crash(parts, tmp_path))


async def _crash(parts: LocalStack, folder: Path) -> None:
    tenant = "crash"
    house, fed = await House(parts, folder).open(), batches(comments(tenant), 100)
    for batch in fed[:10]:
        await house.monitor.handle(batch)
    before = house.checkpoint()
    for batch in fed[10:]:
        await house.monitor.handle(batch)
    house.monitor._observe(house.monitor._order.release(time.monotonic() + 60))
    untold = house.checkpoint()  # raised, and not told: nobody runs the pager
    assert b'"item:course-3"' in untold.header.encode()
    await house.close()

    second = await House(parts, folder).open(untold)
    second.run()
    await second.until(lambda: nothing_untold(second))
    told = await second.told(tenant)
    await second.close()

    third = await House(parts, folder).open(before)  # the crash came before the last checkpoint
    third.run()
    for batch in fed[8:]:  # and Kafka delivers some of it again
        await third.monitor.handle(batch)
    await third.until(lambda: fires(third, tenant))  # once the stream is quiet, all is let go
    again = await third.told(tenant)
    assert [a.fingerprint for a in again] == [a.fingerprint for a in told]
    await third.close()


async def nothing_untold(house: House) -> bool:
    return not house.monitor._untold


async def fires(house: House, tenant: str) -> bool:
    return "item:course-3" in house.monitor.firing_keys().get(tenant, ())


def test_a_redelivered_stream_changes_nothing(parts: LocalStack, tmp_path: Path) -> None:
    asyncio.run(_redelivery(parts, tmp_path))


async def _redelivery(parts: LocalStack, folder: Path) -> None:
    tenant = "redelivery"
    house, messages = await House(parts, folder).open(), comments(tenant, scandal=False)
    for batch in batches(messages):
        await house.monitor.handle(batch)
    before = house.checkpoint()
    for batch in batches(messages):  # the same offsets
        await house.monitor.handle(batch)
    for batch in batches(messages, first=len(messages)):  # scored again: new offsets, same sources
        await house.monitor.handle(batch)
    after = house.checkpoint()
    assert {n: a.tobytes() for n, a in after.arrays.items()} == {
        n: a.tobytes() for n, a in before.arrays.items()
    }
    await house.close()


def test_a_dead_webhook_is_in_nobodys_way(parts: LocalStack, tmp_path: Path) -> None:
    asyncio.run(_dead_webhook(parts, tmp_path))


async def _dead_webhook(parts: LocalStack, folder: Path) -> None:
    tenant = "dead-webhook"
    house = await House(parts, folder, webhook="http://127.0.0.1:9/").open()
    house.run()
    started = time.monotonic()
    for batch in batches(comments(tenant)):
        await house.monitor.handle(batch)
    assert time.monotonic() - started < 5.0
    assert await house.until(lambda: house.told(tenant))

    async def counted() -> bool:
        return house.river.metrics.alert_failures._value.get() > 0

    await house.until(counted)
    await house.close()
