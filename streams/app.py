"""`create_app`: the one place where the parts of a worker meet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from infra.alert_marks import AlertMarks
from infra.alerting import AlertSender
from infra.metrics import WorkerMetrics
from infra.pseudonym import Pseudonymiser
from infra.serving import AsyncRedisTopKStore
from infra.settings import Settings
from infra.telemetry import get_logger
from infra.warehouse import ArchiveWriter, Warehouse
from online.checkpoint import CheckpointStore
from streams import batch_consumer, topics
from streams.archive import Archive
from streams.catalog import Catalog
from streams.checkpointer import Checkpointer
from streams.classifier_client import ClassifierClient
from streams.components import ALL, Components
from streams.deltas import Deltas
from streams.deltas_start import DeltasStart
from streams.embed import Embed
from streams.embedding_client import EmbeddingClient
from streams.erasure_rows import ErasedRows
from streams.explore import Exploration
from streams.fallback import NGramFallback
from streams.fatal import or_die
from streams.faust_app import crash_of, faust_app
from streams.group_coordinator import commit_before_join
from streams.holds import Holds
from streams.lag import Lag
from streams.learn import CHUNK, Learn
from streams.membership import Membership
from streams.monitor import Monitor
from streams.outlet import Outlet
from streams.popular import Popular
from streams.recommend import Recommend
from streams.river import River, agent, one_by_one
from streams.score import AT_ONCE, Score
from streams.sinks import NotOursError
from streams.warm_start import WarmStart

log = get_logger("worker")

USER_TOPICS = (topics.CLICKS, topics.PURCHASES, topics.SCORED_COMMENTS, topics.USERS)
GATHERED = 64  # small batches of comments that wait for the classifier


class App:
    """A worker: its parts, and the Faust app that drives them."""

    def __init__(
        self, settings: Settings, store: AsyncRedisTopKStore, components: Components
    ) -> None:
        self.settings = settings
        self.metrics = WorkerMetrics()
        self.outlet = Outlet(settings.kafka_url.get_secret_value())
        self.warehouse = Warehouse(settings.clickhouse_url.get_secret_value())
        self.classifier = ClassifierClient(
            settings.classifier_url,
            NGramFallback.of(settings.model),
            token=settings.classifier_token.get_secret_value(),
        )
        self.sender = AlertSender(
            settings.webhook_url, settings.alertmanager_url, AlertMarks(self.warehouse).snoozed
        )
        self.river = River(
            settings,
            self.metrics,
            store,
            ArchiveWriter(settings.clickhouse_url.get_secret_value()),
            Pseudonymiser.from_settings(settings.pseudonym_key_file, settings.data_dir),
            self.outlet,
            components,
        )
        self.exploration = Exploration(self.river)
        self.catalog = Catalog(self.river, self.exploration)
        self.embeddings = EmbeddingClient(
            settings.classifier_url, settings.classifier_token.get_secret_value()
        )
        self.holds = Holds(settings.kafka_url.get_secret_value(), self.catalog.hold)
        self.recommend = Recommend(self.river, self.exploration)
        self.learn = Learn(self.river, self.recommend, self.exploration)
        self.score = Score(self.river, self.classifier, self.catalog)
        self.monitor = Monitor(self.river, self.catalog, self.warehouse, self.sender)
        self.embed = Embed(
            self.river, self.catalog.vectors, self.embeddings,
            lambda: self.monitor.owned, self.catalog.item,
        )  # fmt: skip
        self.catalog.on_withdrawn = self.embed.forget
        self.archive = Archive(self.river, self.warehouse, self.exploration)
        self.popular = Popular(self.river, self.catalog, self.warehouse)
        self.warm_start = WarmStart(
            self.river, settings.factors_url, settings.data_dir / "factors-taken"
        )
        files = CheckpointStore(settings.checkpoints)
        self.deltas = Deltas(self.river)
        self.deltas_start = DeltasStart(self.river, self.deltas, files)
        self.checkpointer = Checkpointer(
            self.river, self.recommend, self.monitor, files, self.deltas, self.deltas_start
        )
        self.erased_rows = ErasedRows(self.river, self.warehouse, self.checkpointer.holds)
        self.faust = faust_app(settings, lambda: self.river.generation)
        self._tasks: list[asyncio.Task[None]] = []
        self._assigned = asyncio.Event()
        self.membership = Membership(self.faust)
        self.river.archive.certain = self.membership.certain
        self.lag = Lag(self.river, self.faust, self._assigned)
        _wire(self)

    def not_ready(self) -> str:
        """What is still missing before this worker is of use; empty once ready."""
        if not self._assigned.is_set():
            return "waiting for partitions"
        if not self.deltas.caught_up.is_set():
            return "reading what other workers learned"
        return "" if self.catalog.caught_up.is_set() else "reading the catalogue"

    async def ready(self) -> None:
        """Return once this worker is of use."""
        await self._assigned.wait()
        await self.catalog.caught_up.wait()
        await self.deltas.caught_up.wait()

    async def start(self) -> None:
        """Start the parts, then Faust."""
        await self.outlet.start()
        await self.classifier.start()
        await self.embeddings.start()
        await self.sender.warm_up()
        await self.deltas_start.prepare()
        runs = (
            self.deltas, self.catalog, self.recommend, self.monitor, self.archive, self.popular,
            self.checkpointer, self.warm_start, self.river.erasures, self.erased_rows,
            self.exploration, self.lag, self.embed,
        )  # fmt: skip
        for part in (*runs, self.holds) if self.settings.hold_items else runs:
            self._tasks.append(asyncio.create_task(or_die(part.run())))
        await self.river.erasures.caught_up.wait()  # nobody who was erased is learned again
        self._tasks.append(asyncio.create_task(or_die(crash_of(self.faust))))
        await self.faust.start()

    async def stop(self) -> None:
        """A last checkpoint, then everything down."""
        with suppress(NotOursError):
            await self.checkpointer.checkpoint(last=True)
        await self.faust.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.classifier.stop()
        await self.embeddings.stop()
        await self.sender.close()
        await self.outlet.stop()
        await self.river.store.close()
        self.warehouse.close()

    async def assigned(self, partitions: Iterable[Any]) -> None:
        """Faust gave us these topic partitions."""
        given = set(partitions)
        numbers = {tp.partition for tp in given if tp.topic == topics.CLICKS}
        for number in sorted(set(self.river.partitions) - numbers):
            await self.checkpointer.lost(number)
        owns_monitor = any(tp.topic == topics.SENTIMENT for tp in given)
        async with self.membership.kept():
            monitor = owns_monitor and not self.monitor.owned
            epochs = await self.checkpointer.epochs(numbers, monitor)
            # Whoever is given the partitions from now on has a higher epoch. Without this, ours may
            # be the higher one though he owns them: what we took over would pass for the newest.
            ours = await self.membership.confirm()
            if ours:
                await self.checkpointer.assigned(epochs)
                ours = await self.membership.confirm()
        if not ours:
            log.warning("partitions.lost", partitions=sorted(numbers), reason="while assigned")
            await self.revoked(given)
        self._assigned.set()

    async def revoked(self, partitions: Iterable[Any]) -> None:
        """Faust takes these topic partitions away: they are saved while they are still ours."""
        given = set(partitions)
        numbers = {tp.partition for tp in given if tp.topic == topics.CLICKS}
        await self.checkpointer.revoked(
            numbers, monitor=any(tp.topic == topics.SENTIMENT for tp in given)
        )
        await commit_before_join(self.faust.consumer)


def create_app(settings: Settings, store: AsyncRedisTopKStore, components: Components = ALL) -> App:
    """Build a worker from its settings; nothing connects before `start`."""
    return App(settings, store, components)


def _wire(worker: App) -> None:
    """Agents on their topics; assignment and revocation to the checkpointer."""
    app = worker.faust

    def raw(*names: str) -> Any:
        return app.topic(
            *names,
            key_serializer=batch_consumer.RAW,
            value_serializer=batch_consumer.RAW,
            key_type=None,
            value_type=None,
        )

    for name, source, handle, most, gathered in (
        # A poll's batches, where they are small: one of each partition.
        ("learn", raw(*USER_TOPICS), worker.learn.handle, CHUNK, topics.PARTITIONS),
        # While a request is on its way to the classifier, the next one gathers.
        ("score", raw(topics.COMMENTS), worker.score.handle, AT_ONCE, GATHERED),
        ("monitor", raw(topics.SENTIMENT), one_by_one(worker.monitor.handle), 1, 1),
        ("archive", raw(topics.SERVED, topics.ALERTS), one_by_one(worker.archive.handle), 1, 1),
    ):
        body = agent(worker.river, handle, most, gathered)
        app.agent(source, name=name, concurrency=1)(body)

    @app.on_partitions_assigned.connect(weak=False)
    async def _(_app: Any, assigned: Iterable[Any], **_: Any) -> None:
        await or_die(worker.assigned(assigned))

    @app.on_partitions_revoked.connect(weak=False)
    async def _(_app: Any, revoked: Iterable[Any], **_: Any) -> None:
        await or_die(worker.revoked(revoked))
