"""Who takes over after Redis lost its count, or while it is away, on a Valkey that forgets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from infra.alerting import AlertSender
from infra.local.ports import free_port
from infra.metrics import WorkerMetrics
from infra.pseudonym import Pseudonymiser
from infra.serving import AsyncRedisTopKStore
from infra.settings import Settings
from infra.warehouse import ArchiveWriter
from online.checkpoint import CheckpointStore
from online.learner import Kind
from streams.catalog import Catalog
from streams.checkpointer import Checkpointer
from streams.components import Components
from streams.deltas import Deltas
from streams.deltas_start import DeltasStart
from streams.monitor import Monitor
from streams.recommend import Recommend
from streams.river import River
from tests.streams.test_lists_again import forgetful_valkey
from tests.streams.test_monitor import batches, comments

OFFSETS = [3, 8, 20]


class Owner:
    """A worker's checkpointer, alone with partition 0; no list, no row, no message is made."""

    def __init__(self, folder: Path, store: AsyncRedisTopKStore) -> None:
        nowhere: Any = None
        self.river = River(
            Settings(), WorkerMetrics(CollectorRegistry()), store,
            ArchiveWriter("clickhouse://127.0.0.1:9/default"), Pseudonymiser(b"1" * 32), nowhere,
            Components(learner="statistics", lists="off", archive=False),
        )  # fmt: skip
        files, deltas = CheckpointStore(str(folder)), Deltas(self.river)
        self.monitor = Monitor(self.river, Catalog(self.river), nowhere, AlertSender("", ""))
        self.checkpointer = Checkpointer(
            self.river, Recommend(self.river), self.monitor, files, deltas,
            DeltasStart(self.river, deltas, files),
        )  # fmt: skip

    async def take_over(self) -> tuple[int, int]:
        """Epoch, and the last offset that the state holds."""
        await self.checkpointer.assigned(await self.checkpointer.epochs([0], monitor=False))
        state = self.river.partitions[0]
        return state.epoch, state.offsets.get("clicks.v1", -1)

    async def learn(self, offset: int) -> None:
        kinds = np.full(1, Kind.CLICK, dtype=np.int8)
        self.river.learner("t").learn(0, ["u"], [f"i{offset}"], kinds, np.array([float(offset)]))
        self.river.partitions[0].offsets["clicks.v1"] = offset
        await self.checkpointer.checkpoint(last=True)


def test_what_was_learned_since_redis_was_emptied_is_kept(tmp_path: Path) -> None:
    port = free_port()

    async def owner(times: int, offset: int) -> tuple[int, int]:
        store = await AsyncRedisTopKStore.connect(f"redis://127.0.0.1:{port}/0")
        for _ in range(times):
            await store.next_epoch("clicks.v1", 0)
        one = Owner(tmp_path / "checkpoints", store)
        taken = await one.take_over()
        await one.learn(offset)
        await store.close()
        return taken

    async def scenario() -> list[tuple[int, int]]:
        with forgetful_valkey(tmp_path, port):
            first = await owner(56, OFFSETS[0])
        with forgetful_valkey(tmp_path, port):  # which knows of no epoch
            return [first, await owner(0, OFFSETS[1]), await owner(0, OFFSETS[2])]

    assert asyncio.run(scenario()) == [(57, -1), (58, OFFSETS[0]), (59, OFFSETS[1])]


def test_redis_away_while_partitions_are_assigned_is_waited_for(tmp_path: Path) -> None:
    port = free_port()

    async def scenario() -> tuple[int, int]:
        with forgetful_valkey(tmp_path, port):
            store = await AsyncRedisTopKStore.connect(f"redis://127.0.0.1:{port}/0")
        taking = asyncio.create_task(Owner(tmp_path / "checkpoints", store).take_over())
        await asyncio.sleep(0.3)  # refused meanwhile
        assert not taking.done()
        with forgetful_valkey(tmp_path, port):
            taken = await taking
        await store.close()
        return taken

    assert asyncio.run(scenario()) == (1, -1)


def test_a_checkpoint_without_news_for_the_monitor_does_not_write_it(tmp_path: Path) -> None:
    port, files = free_port(), CheckpointStore(str(tmp_path / "checkpoints"))

    async def scenario() -> list[int]:
        store = await AsyncRedisTopKStore.connect(f"redis://127.0.0.1:{port}/0")
        one = Owner(tmp_path / "checkpoints", store)
        await one.checkpointer.assigned(await one.checkpointer.epochs([0], monitor=True))
        await one.learn(OFFSETS[0])
        written = [files.newest("monitor")]
        await one.monitor.handle(batches(comments("t", scandal=False)[:5])[0])
        await one.learn(OFFSETS[1])
        await store.close()
        return [*written, files.newest("monitor")]

    with forgetful_valkey(tmp_path, port):
        assert asyncio.run(scenario()) == [-1, 1]
