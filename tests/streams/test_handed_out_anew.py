"""Batches in hand while partitions are handed out anew: they come again, and must not count now."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from prometheus_client import CollectorRegistry

from infra.alerting import AlertSender
from infra.metrics import WorkerMetrics
from infra.pseudonym import Pseudonymiser
from infra.settings import Settings
from infra.warehouse import ArchiveWriter
from streams import topics
from streams.batch_consumer import Batch
from streams.catalog import Catalog
from streams.learn import Learn
from streams.monitor import Monitor
from streams.partition import PartitionState
from streams.recommend import Recommend
from streams.river import River

NOWHERE: Any = None  # no sink is reached in these tests


class Held(River):
    """Its dead letters wait, as for a Kafka that is away."""

    def __init__(self) -> None:
        archive = ArchiveWriter("clickhouse://127.0.0.1:9/default")
        metrics, pseudonyms = WorkerMetrics(CollectorRegistry()), Pseudonymiser(b"1" * 32)
        super().__init__(Settings(), metrics, NOWHERE, archive, pseudonyms, NOWHERE)
        self.asked, self.released = asyncio.Event(), asyncio.Event()

    async def dead_letter(self, batch: Batch, rejected: list[tuple[int, str]]) -> None:
        if rejected:
            self.asked.set()
            await self.released.wait()


def batch(topic: str, offset: int, value: bytes) -> Batch:
    return Batch(topic, 0, [offset], [b"default/u"], [value], [0])


def click(number: int) -> bytes:
    fields = {
        "id": f"{number}", "type": "click", "occurred_at": "2026-01-01T00:00:00Z",
        "user_id": "u", "item_id": f"i{number}",
    }  # fmt: skip
    return json.dumps(fields).encode()


def test_the_second_batch_of_a_round_is_not_learned_by_the_next_assignment() -> None:
    async def scenario() -> None:
        river = Held()
        learn = Learn(river, Recommend(river))
        river.partition_loaded(PartitionState(0, epoch=1))
        given = [batch(topics.CLICKS, 700, b"?"), batch(topics.CLICKS, 900, click(900))]
        handling = asyncio.create_task(learn.handle(given))
        await river.asked.wait()
        river.new_generation()
        river.partition_lost(0)
        again = PartitionState(0, epoch=2)
        again.offsets[topics.CLICKS] = 699  # what came since is in no checkpoint
        river.partition_loaded(again)
        river.released.set()
        await asyncio.wait_for(handling, 5)
        assert again.offsets[topics.CLICKS] == 699, "700 to 899 would look learned"
        assert river.learners == {}

    asyncio.run(scenario())


def test_what_waited_for_the_monitor_is_not_shown_to_the_next_one() -> None:
    async def scenario() -> None:
        river = Held()
        monitor = Monitor(river, Catalog(river), NOWHERE, AlertSender("", ""))
        waiting = asyncio.create_task(monitor.handle(batch(topics.SENTIMENT, 9, b"?")))
        await asyncio.sleep(0)
        river.new_generation()
        monitor.take_over(2, None)
        await asyncio.wait_for(waiting, 5)
        assert monitor._offset == -1 and not river.asked.is_set()

    asyncio.run(scenario())
