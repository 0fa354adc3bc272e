"""recommend: a fresh top-K list for every user that something happened to, into Redis.

Users wait in the order in which they were touched; a user touched again before his turn is written
once. Under load the lists coalesce by themselves, and the queue is bounded by the users waiting.
While a backlog is worked off, where a list would be old before it is written, they wait for the
next checkpoint, so that learning catches up. Whose event came just now does not stand in line
behind them: he waits in another one, and each line has half of the turns.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

import numpy as np

from infra.serving import ListWrite, StoredList
from infra.telemetry import get_logger
from online.learner import TopK
from streams.explore import Exploration
from streams.lists_again import Lately
from streams.river import River
from streams.waiting import Key, Line, Touched

log = get_logger("recommend")

WRITE_AT_ONCE = 32
MAX_WAITING = 20_000
BACKLOG_SECONDS = 1.0
CAUGHT_UP_SECONDS = 0.5
RECENT_SECONDS = 0.25
DAY_SECONDS = 86_400.0
RETRY_SECONDS = (0.05, 0.2, 0.5, 1.0, 2.0)


Taken = list[tuple[Key, Touched]]
Made = list[tuple[ListWrite, Touched]]


class Recommend:
    """The recommend agent: takes touched users, writes lists."""

    def __init__(self, river: River, exploration: Exploration | None = None) -> None:
        self._river = river
        self._exploration = exploration or Exploration(river)
        self._fresh, self._behind = Line(), Line()
        self._each = itertools.count(1) if river.components.lists == "each" else itertools.repeat(0)
        self._flushing = 0
        self._behind_at = -math.inf
        self._recent_at = 0.0
        self._lately = Lately()
        self._erased: set[tuple[str, str]] = set()  # while lists are being written
        self._connects = 0
        self._changed = asyncio.Condition()
        self._wake = asyncio.Event()

    def enqueue(
        self, partition: int, tenant: str, users: Sequence[str], received_ms: Sequence[int],
        lag_seconds: float = 0.0,
    ) -> None:  # fmt: skip
        """Ask for fresh lists; synchronous, so that it falls together with the learning.

        Who waits in both lines is written twice: a checkpoint counts on each.

        Args:
            lag_seconds: how far behind the newest of these events is.
        """
        if self._river.components.lists == "off":
            return
        line = self._behind if lag_seconds > BACKLOG_SECONDS else self._fresh
        keys = zip(itertools.repeat(tenant), users, self._each, strict=False)
        line.add(zip(keys, map(Touched, itertools.repeat(partition), received_ms), strict=False))

    def forget(self, tenant: str, user: str) -> None:
        """No list of his is written any more, nor is his name, until he is touched again."""
        self._fresh.forget(tenant, user)
        self._behind.forget(tenant, user)
        self._lately.forget(tenant, user)
        self._erased.add((tenant, user))

    async def wake(self, lag_seconds: float = 0.0) -> None:
        """Let the writer run, unless we are so far behind; wait while too many users wait."""
        if lag_seconds > BACKLOG_SECONDS:
            self._behind_at = time.monotonic()
        elif self._behind and not self._all_lines():  # then nobody else may come to wake the writer
            asyncio.get_running_loop().call_later(CAUGHT_UP_SECONDS, self._wake.set)
        self._measure()
        if self._fresh or (self._behind and self._all_lines()):
            self._wake.set()
        if self._count() >= MAX_WAITING:
            async with self._changed:
                await self._changed.wait_for(lambda: self._count() < MAX_WAITING)

    @property
    def behind(self) -> bool:
        """Whether anybody waits behind a backlog."""
        return bool(self._behind)

    def _count(self) -> int:
        return len(self._fresh) + len(self._behind)

    def _measure(self) -> None:
        self._river.metrics.queue.labels("lists").set(self._count())

    async def flushed(self) -> None:
        """Return once every user waiting now has his list in Redis."""
        self._flushing += 1
        written = self._whether_written()
        try:
            self._wake.set()
            async with self._changed:
                await self._changed.wait_for(written)
        finally:
            self._flushing -= 1

    async def run(self) -> None:
        """Write lists for as long as the worker lives."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            written = self._whether_written()  # who comes meanwhile wakes us again
            while not written():
                fresh, behind = self._take()
                if not fresh and not behind:  # a backlog came meanwhile: its users wait
                    break
                await self._write(fresh + behind)
                self._fresh.done += len(fresh)
                self._behind.done += len(behind)
                async with self._changed:
                    self._changed.notify_all()
                self._measure()
                await asyncio.sleep(0)

    def _take(self) -> tuple[Taken, Taken]:
        """Who is next of each line, one of each in turn."""
        share = WRITE_AT_ONCE // 2 if self._all_lines() else 0
        behind = self._behind.take(share)
        fresh = self._fresh.take(WRITE_AT_ONCE - len(behind))
        if share:
            behind += self._behind.take(WRITE_AT_ONCE - len(behind) - len(fresh))
        return fresh, behind

    def _all_lines(self) -> bool:
        """Whether those of a backlog have their turn too."""
        caught_up = time.monotonic() - self._behind_at > CAUGHT_UP_SECONDS
        return caught_up or self._flushing > 0 or self._count() >= MAX_WAITING

    def _whether_written(self) -> Callable[[], bool]:
        """Tells later on whether all who wait now have their lists."""
        targets = self._fresh.joined, self._behind.joined if self._all_lines() else 0
        return lambda: self._fresh.done >= targets[0] and self._behind.done >= targets[1]

    async def _write(self, taken: Taken) -> None:
        self._erased.clear()
        together: dict[tuple[str, int], list[int]] = {}
        for at, ((tenant, _, _), touch) in enumerate(taken):
            together.setdefault((tenant, touch.partition), []).append(at)
        made: Made = []
        for (tenant, partition), places in together.items():
            lists = self._lists(tenant, partition, [taken[at][0][1] for at in places])
            made += zip(lists, [taken[at][1] for at in places], strict=False)
        if made:
            self._note(await self._until_taken(made))

    def _lists(self, tenant: str, partition: int, users: Sequence[str]) -> list[ListWrite]:
        state = self._river.partitions.get(partition)
        if state is None:  # revoked while they waited: its new owner writes the lists
            return []
        learner = self._river.learner(tenant)
        tops = learner.top_ks(partition, users, self._river.settings.list_size)
        watermark, exploration = state.watermark(), self._exploration
        writes = [
            ListWrite(tenant, user, stored_list(top, state.next_version(), watermark))
            for user, top in zip(users, tops, strict=True)
        ]
        return [exploration.fill(w, learner) for w in writes] if exploration.on else writes

    def _kept(self, made: Made) -> Made:
        """Without those who were erased since their lists were made."""
        if not self._erased:
            return made
        return [one for one in made if (one[0].tenant, one[0].user) not in self._erased]

    async def _until_taken(self, made: Made) -> Made:
        """Those that Redis took. While it is away: wait; the queue behind is bounded, so Kafka
        keeps the rest.
        """
        ttl = self._river.settings.list_ttl_days * DAY_SECONDS
        attempt = 0
        while True:
            try:
                made = self._kept(made)
                accepted = await self._river.store.write_many([write for write, _ in made], ttl)
                taken = self._kept(list(compress(made, accepted)))
                await self._note_recent([write for write, _ in taken])
                self._write_again_if_lost()
                self._river.metrics.lists_refused.inc(accepted.count(False))
                return self._kept(taken)
            except self._river.store.transient_errors as error:
                wait = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
                log.warning("redis.retry", error=type(error).__name__, wait_seconds=wait)
                attempt += 1
                await asyncio.sleep(wait)

    def _write_again_if_lost(self) -> None:
        """A new connection may lead to a replica, which lacks what its master was told last."""
        connects = self._river.store.connects
        if connects == self._connects:
            return
        self._connects = connects
        again = [(who, Touched(at, 0)) for who, at in self._lately.take() if who not in self._fresh]
        self._fresh.add(again)
        self._wake.set()

    async def _note_recent(self, writes: list[ListWrite]) -> None:
        """Some of the users served last, for whoever wants to look at a list; now and then."""
        now = time.monotonic()
        if writes and now - self._recent_at >= RECENT_SECONDS:
            self._recent_at = now
            await self._river.store.note_recent([(write.tenant, write.user) for write in writes])

    def _note(self, taken: Made) -> None:
        metrics, now_ms = self._river.metrics, int(time.time() * 1000)
        metrics.lists.inc(len(taken))
        for write, touch in taken:
            self._lately.note((write.tenant, write.user, 0), touch.partition)
            if touch.received_ms:
                metrics.freshness.observe(max(0.0, (now_ms - touch.received_ms) / 1000))
        self._exploration.ages.listed([write for write, _ in taken])
        if taken and self._river.components.archive:
            columns = list_columns(taken, self._river.pseudonyms.user_key, now_ms)
            self._river.archive.append_columns("list_writes", "", 0, columns)


def list_columns(
    taken: Sequence[tuple[ListWrite, Touched]], user_key: Callable[[str, str], str], now_ms: int
) -> dict[str, Sequence[Any]]:
    """The columns of `list_writes` in the warehouse, of lists that Redis took."""
    writes = [write for write, _ in taken]
    return {
        "tenant": [write.tenant for write in writes],
        "user_key": [user_key(write.tenant, write.user) for write in writes],
        "epoch": [write.list.version[0] for write in writes],
        "seq": [write.list.version[1] for write in writes],
        "watermark": [write.list.watermark_ms for write in writes],
        "received_at": [touch.received_ms or now_ms for _, touch in taken],
        "written_at": [now_ms] * len(writes),
        "policy": [write.list.policy for write in writes],
        "size": [len(write.list.items) for write in writes],
    }


def stored_list(top: TopK, version: tuple[int, int], watermark: float) -> StoredList:
    """A top-K result in the form that Redis keeps."""
    return StoredList(
        format=1,
        version=version,
        watermark_ms=int(watermark * 1000),
        items=list(top.items),
        scores=np.round(top.scores.astype(np.float64), 4).tolist(),
        policy=top.policy,
        seed=0,
        near=[(top.items[at], by) for at, by in top.near],
    )
