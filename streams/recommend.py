"""recommend: a fresh top-K list for every user that something happened to, into Redis.

Users wait in the order in which they were touched; a user touched again before his turn is written
once. Under load the lists coalesce by themselves, and the queue is bounded by the users waiting.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

from infra.serving import ListWrite, StoredList
from infra.telemetry import get_logger
from online.learner import TopK
from streams.river import River

log = get_logger("recommend")

WRITE_AT_ONCE = 32
MAX_WAITING = 20_000
DAY_SECONDS = 86_400.0
RETRY_SECONDS = (0.05, 0.2, 0.5, 1.0, 2.0)


class Touched(NamedTuple):
    """Who waits for a list: the partition, and the newest event's append time (0: none)."""

    partition: int
    received_ms: int


class Recommend:
    """The recommend agent: takes touched users, writes lists."""

    def __init__(self, river: River) -> None:
        self._river = river
        self._waiting: dict[tuple[str, str], Touched] = {}
        self._enqueued = 0
        self._written = 0
        self._changed = asyncio.Condition()
        self._wake = asyncio.Event()

    def enqueue(self, partition: int, tenant: str, user: str, received_ms: int) -> None:
        """Ask for a fresh list; synchronous, so that it falls together with the learning."""
        key = (tenant, user)
        earlier = self._waiting.get(key)
        if earlier is None:
            self._enqueued += 1
        newest = max(received_ms, earlier.received_ms if earlier else 0)
        self._waiting[key] = Touched(partition, newest)

    async def wake(self) -> None:
        """Let the writer run; wait while too many users wait (back-pressure)."""
        if not self._waiting:
            return
        self._wake.set()
        if len(self._waiting) >= MAX_WAITING:
            async with self._changed:
                await self._changed.wait_for(lambda: len(self._waiting) < MAX_WAITING)

    async def flushed(self) -> None:
        """Return once every user waiting now has his list in Redis."""
        target = self._enqueued
        self._wake.set()
        async with self._changed:
            await self._changed.wait_for(lambda: self._written >= target)

    async def run(self) -> None:
        """Write lists for as long as the worker lives."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                taken = self._take()
                await self._write(taken)
                self._written += len(taken)
                async with self._changed:
                    self._changed.notify_all()
                self._river.metrics.queue.labels("lists").set(len(self._waiting))
                await asyncio.sleep(0)

    def _take(self) -> list[tuple[tuple[str, str], Touched]]:
        keys = [key for key, _ in zip(self._waiting, range(WRITE_AT_ONCE), strict=False)]
        return [(key, self._waiting.pop(key)) for key in keys]

    async def _write(self, taken: list[tuple[tuple[str, str], Touched]]) -> None:
        writes, touched = [], []
        for (tenant, user), touch in taken:
            write = self._list(tenant, user, touch.partition)
            if write is not None:
                writes.append(write)
                touched.append(touch)
        if not writes:
            return
        accepted = await self._until_taken(writes)
        now_ms = int(time.time() * 1000)
        for write, touch, taken_by_redis in zip(writes, touched, accepted, strict=True):
            self._note(write, touch, taken_by_redis, now_ms)

    def _list(self, tenant: str, user: str, partition: int) -> ListWrite | None:
        state = self._river.partitions.get(partition)
        if state is None:  # revoked while the user waited: its new owner writes the list
            return None
        learner = self._river.learner(tenant)
        top = learner.top_k(user, self._river.settings.list_size)
        return ListWrite(tenant, user, stored_list(top, state.next_version(), state.watermark()))

    async def _until_taken(self, writes: list[ListWrite]) -> list[bool]:
        """Redis away: wait for it. The queue behind is bounded, so Kafka keeps the rest."""
        ttl = self._river.settings.list_ttl_days * DAY_SECONDS
        attempt = 0
        while True:
            try:
                accepted: list[bool] = await self._river.store.write_many(writes, ttl)
                await self._river.store.note_recent(
                    [(write.tenant, write.user) for write in writes]
                )
                return accepted
            except self._river.store.transient_errors as error:
                wait = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
                log.warning("redis.retry", error=type(error).__name__, wait_seconds=wait)
                attempt += 1
                await asyncio.sleep(wait)

    def _note(self, write: ListWrite, touch: Touched, taken: bool, now_ms: int) -> None:
        metrics = self._river.metrics
        if not taken:
            metrics.lists_refused.inc()
            return
        metrics.lists.inc()
        if touch.received_ms:
            metrics.freshness.observe(max(0.0, (now_ms - touch.received_ms) / 1000))
        epoch, seq = write.list.version
        row: dict[str, Any] = {
            "tenant": write.tenant,
            "user_key": self._river.pseudonyms.user_key(write.tenant, write.user),
            "epoch": epoch,
            "seq": seq,
            "watermark": write.list.watermark_ms,
            "received_at": touch.received_ms or now_ms,
            "written_at": now_ms,
            "policy": write.list.policy,
            "size": len(write.list.items),
        }
        self._river.archive.append("list_writes", "", touch.partition, row)


def stored_list(top: TopK, version: tuple[int, int], watermark: float) -> StoredList:
    """A top-K result in the form that Redis keeps."""
    return StoredList(
        format=1,
        version=version,
        watermark_ms=int(watermark * 1000),
        items=list(top.items),
        scores=[round(float(score), 4) for score in top.scores],
        policy=top.policy,
        seed=0,
    )
