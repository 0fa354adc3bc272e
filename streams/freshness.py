"""The independent witness of freshness: from the producer's send to the new list read in Redis.

It shares nothing with the worker but the list's public form and the way to Redis: just before an
interaction is sent it notes the version of the user's list, and then reads the list until the
version is greater. The reading costs time too, about a millisecond, and counts against us.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import OrderedDict, deque
from random import Random
from typing import Any

import numpy as np
from msgspec import Struct

from infra.serving_connect import async_redis_client
from infra.serving_lists import decode_list, decode_profile, list_key, profile_key
from infra.serving_pipe import Pipe
from infra.telemetry import get_logger

log = get_logger("freshness")

QUIET_SECONDS = 5.0
POLL_SECONDS = 0.001
UNANSWERED_SECONDS = 10.0
MAX_PENDING = 64
MAX_SAMPLES = 100_000
REDIS_AWAY_SECONDS = 0.2
TIMEOUT_SECONDS = 2.0

Key = tuple[str, str]
Version = tuple[int, int]


class FreshnessSummary(Struct, frozen=True):
    """What was seen, in milliseconds; NaN (JSON null) where there was nothing to see.

    Attributes:
        count: events that were followed to their list.
        unanswered: events without a new list after 10 s, or at the end.
    """

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    unanswered: int


class _Probe(Struct):
    """A sent event whose list is awaited. Times are perf_counter seconds."""

    version: Version
    sent_at: float


class FreshnessWatch:
    """Watches a sample of the interactions of a `Sender` (`before_send`).

    An event is a probe if its user sent nothing in the last 5 s, so that the new list can only be
    its own, if the user wants to be personalised, and if fewer than 64 probes are pending. Redis
    being away stops the watching, never the sending.

    Args:
        share: of those events that are followed, chosen at random before anything is known of
            them. To follow one costs more CPU than to send it, on cores that the worker needs.
    """

    def __init__(self, redis_url: str, share: float = 1.0) -> None:
        self._url = redis_url
        self._share = share
        self._random = Random(redis_url)
        self._client: Any = None
        self._pipe: Any = None
        self._away: tuple[type[Exception], ...] = (OSError,)
        self._task: asyncio.Task[None] | None = None
        self._pending: dict[Key, _Probe] = {}
        # A user's latest event, oldest first; the oldest of a dict is slow to find where many left.
        self._latest: OrderedDict[Key, float] = OrderedDict()
        self._milliseconds: deque[float] = deque(maxlen=MAX_SAMPLES)
        self._unanswered = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False

    async def start(self) -> None:
        """Connect and watch.

        Raises:
            redis.exceptions.RedisError: Redis does not answer.
        """
        from redis.exceptions import RedisError

        self._away = (OSError, RedisError)
        self._client = async_redis_client(self._url, socket_timeout=None)
        self._pipe = Pipe(self._client, TIMEOUT_SECONDS)
        await self._pipe.send([("PING",)])
        self._task = asyncio.create_task(self._poll())

    async def stop(self, patience_seconds: float = 1.0) -> FreshnessSummary:
        """Wait a little for the last lists, disconnect, and sum up."""
        await self.settled(patience_seconds)
        self._stopping = True  # not cancelled: a read that is cut off would break the connection
        self._wake.set()
        if self._task is not None:
            await self._task
        if self._client is not None:
            await self._pipe.close()
            await self._client.aclose()
        self._unanswered += len(self._pending)
        self._pending.clear()
        return self.summary()

    async def settled(self, patience_seconds: float = 1.0) -> FreshnessSummary:
        """Wait a little for the last lists and sum up; what still pends stays so."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self._idle.wait()
        return self.summary()

    def reset(self) -> None:
        """Forget what was measured: a warm-up is over. What is pending is forgotten too."""
        self._pending.clear()
        self._idle.set()
        self._milliseconds.clear()
        self._unanswered = 0

    def summary(self, waiting: bool = False) -> FreshnessSummary:
        """What was seen so far (of a very long run: the last 100,000 probes).

        Args:
            waiting: count a list that is still waited for as if it came now.
        """
        now = time.perf_counter()
        pending = [(now - probe.sent_at) * 1000 for probe in self._pending.values()]
        seen = np.array([*self._milliseconds, *(pending if waiting else ())])
        p50, p99, longest = (
            (*np.percentile(seen, (50, 99)), seen.max()) if len(seen) else (math.nan,) * 3
        )
        return FreshnessSummary(
            len(seen),
            round(float(p50), 3),
            round(float(p99), 3),
            round(float(longest), 3),
            self._unanswered,
        )

    async def before_send(self, tenant: str, user: str) -> None:
        """Note the list's version and the time; to be awaited just before the send."""
        key, now = (tenant, user), time.perf_counter()
        quiet = self._is_quiet(key, now)
        if not quiet or key in self._pending or len(self._pending) >= MAX_PENDING:
            return
        if self._random.random() >= self._share:
            return
        try:
            stored, profile = await self._read([list_key(*key), profile_key(*key)])
        except self._away as error:
            log.warning("freshness.redis_away", error=type(error).__name__)
            return
        if decode_profile(profile).personalise:
            self._pending[key] = _Probe(_version(stored), time.perf_counter())
            self._idle.clear()
            self._wake.set()

    def _is_quiet(self, key: Key, now: float) -> bool:
        before = self._latest.get(key, -math.inf)
        self._latest[key] = now
        self._latest.move_to_end(key)
        oldest = next(iter(self._latest))
        if self._latest[oldest] < now - QUIET_SECONDS:  # one out for one in: bounded by the rate
            del self._latest[oldest]
        return now - before >= QUIET_SECONDS

    async def _poll(self) -> None:
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            while self._pending and not self._stopping:
                try:
                    await self._read_lists()
                    await asyncio.sleep(POLL_SECONDS)
                except self._away as error:
                    log.warning("freshness.redis_away", error=type(error).__name__)
                    await asyncio.sleep(REDIS_AWAY_SECONDS)
            self._idle.set()

    async def _read(self, keys: list[str]) -> list[bytes | None]:
        (values,) = await self._pipe.send([("MGET", *keys)])
        if isinstance(values, Exception):
            raise values
        found: list[bytes | None] = values
        return found

    async def _read_lists(self) -> None:
        keys = list(self._pending)
        lists = await self._read([list_key(*key) for key in keys])
        now = time.perf_counter()
        for key, stored in zip(keys, lists, strict=True):
            probe = self._pending.get(key)
            if probe is None:
                continue
            if _version(stored) > probe.version:
                self._milliseconds.append((now - probe.sent_at) * 1000)
                del self._pending[key]
            elif now - probe.sent_at > UNANSWERED_SECONDS:
                self._unanswered += 1
                del self._pending[key]


def _version(stored: bytes | None) -> Version:
    found = decode_list(stored)
    return found.version if found is not None else (0, 0)
