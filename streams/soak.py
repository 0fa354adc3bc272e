"""Soak: a steady load on everything for a long time, and a look at memory and latency meanwhile.

A few busy users fill their histories to the limit first, and more users than the worker keeps go on
coming, so that users, items and histories are full when the looking begins. The latency is that of
users who click seldom enough to be followed to their list (see `freshness`).
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from infra.local.broker import BrokerChoice
from infra.settings import Settings, UserError
from streams import topics
from streams.demo_parts import Parts
from streams.events import Click, Comment, encode, user_key
from streams.freshness import FreshnessWatch
from streams.pace import MAX, REAL, end_task, iterate
from streams.sender import Outbound, Sender
from streams.simulate_catalogue import course_id
from streams.soak_verdict import Sample, judge

OWN = ("worker", "classifier", "api")
HISTORY = 4_096  # events of a user that are kept
MAX_USERS = 1_000  # of the worker; PROBE_USERS keep coming beyond them
PROBE_USERS = 2_000
PROBES_PER_SECOND = 50.0
COMMENTS_PER_SECOND = 10.0
ASKS_PER_SECOND = 10.0
WORDS = ("讲得很清楚，值得", "Terrible, I want my money back.", "It starts on Monday.")

Progress = Callable[[str, float], None]


class SoakOptions(Struct, frozen=True):
    """What to do.

    Attributes:
        rate: events a second in all.
        warm_up: minutes that are not looked at.
        lessons: events beforehand, as fast as they go; 4,096 fill a user's history.
    """

    minutes: float = 30.0
    rate: float = 1_000.0
    sample_seconds: float = 5.0
    warm_up: float = 5.0
    lessons: int = 200_000
    items: int = 1_000
    broker: BrokerChoice = "kafka"
    seed: int = 7


def soak(
    options: SoakOptions, settings: Settings, folder: Path, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """Run it all.

    Returns:
        The verdict, every sample, and what was run.

    Raises:
        UserError: something could not be started, or ended.
    """
    settings = settings.model_copy(update={"max_users": MAX_USERS, "max_items": options.items})
    parts = _SoakParts(folder, options.broker, settings)
    try:
        progress("starting everything", 0.0)
        parts.start()
        run = _Soak(options, parts, progress)
        asyncio.run(run.run())
    finally:
        parts.stop()
    found = judge(run.samples, options.warm_up * 60, OWN)
    return {
        **msgspec.to_builtins(found),
        "events": run.sent,
        "options": msgspec.to_builtins(options),
        "max_users": MAX_USERS,
        "broker": parts.stack.broker,
        "components": [parts.stack.broker, "valkey", "clickhouse", "webhook", *OWN],
        "each_sample": [_rounded(sample) for sample in run.samples],
    }


class _SoakParts(Parts):
    """With a bound on users that the load goes beyond, and without second lives."""

    def _spec(self, name: str, command: tuple[str, ...], restarts: int) -> Any:
        del restarts
        return super()._spec(name, command, restarts=0)

    def _environment(self) -> dict[str, str]:
        bounds = self._settings.max_users, self._settings.max_items
        names = "SPRINGTIDE_MAX_USERS", "SPRINGTIDE_MAX_ITEMS"
        return {**super()._environment(), **dict(zip(names, map(str, bounds), strict=True))}


class _Soak:
    def __init__(self, options: SoakOptions, parts: Parts, progress: Progress) -> None:
        self._options, self._parts, self._progress = options, parts, progress
        self._random = Random(f"soak/{options.seed}")
        self._busy = max(1, options.lessons // HISTORY)
        self._watch = FreshnessWatch(parts.stack.redis_url)
        kafka = parts.stack.broker.startswith("kafka")
        self._sender = Sender(parts.stack.kafka_url, idempotent=kafka, linger_ms=0 if kafka else 5)
        self.sent = 0
        self.samples: list[Sample] = []

    async def run(self) -> None:
        """Lessons, then load, looking on."""
        await self._watch.start()
        await self._sender.start()
        try:
            self._progress("filling histories", 0.0)
            async for outbound in iterate(self._lessons(), MAX):
                await self._sender.send(outbound)
            await self._sender.flush()
            began = time.monotonic()
            load = [asyncio.create_task(work) for work in (self._load(), self._asking())]
            try:
                await self._look_on(began, load)
            finally:
                for task in load:
                    await end_task(task)
        finally:
            await self._sender.stop()
            await self._watch.stop()

    async def _look_on(self, began: float, load: list[asyncio.Task[None]]) -> None:
        end = began + self._options.minutes * 60
        while time.monotonic() < end:
            await asyncio.sleep(self._options.sample_seconds)
            self._parts.check()
            for task in load:
                if task.done():
                    task.result()
            summary = self._watch.summary(waiting=True)
            self._watch.reset()
            seconds = time.monotonic() - began
            pids = self._parts.pids()
            rss = {name: resident_bytes(pid) for name, pid in pids.items()}
            self.samples.append(Sample(seconds, rss, summary.p50_ms, summary.p99_ms))
            self._progress("soaking", seconds / (end - began))

    async def _load(self) -> None:
        async for outbound in iterate(self._stream(), REAL):
            if outbound.user.startswith("probe-"):
                await self._watch.before_send(outbound.tenant, outbound.user)
            await self._sender.send(outbound)
            self.sent += 1

    def _lessons(self) -> Iterator[Outbound]:
        at = time.time()
        for number in range(self._options.lessons):
            yield self._click(f"lesson-{number}", f"busy-{number % self._busy}", at)

    def _stream(self) -> Iterator[Outbound]:
        """Clicks and comments at random times (Poisson)."""
        at, number = time.time(), 0
        share = PROBES_PER_SECOND / self._options.rate
        comments = COMMENTS_PER_SECOND / self._options.rate
        while True:
            at, number = at + self._random.expovariate(self._options.rate), number + 1
            chance = self._random.random()
            if chance < share:
                user = f"probe-{round(number * share) % PROBE_USERS}"
            else:
                user = f"busy-{number % self._busy}"
            if chance > 1 - comments:
                yield self._comment(f"soak-{number}", user, at)
            else:
                yield self._click(f"soak-{number}", user, at)

    def _click(self, name: str, user: str, at: float) -> Outbound:
        item = course_id(self._random.randrange(self._options.items))
        when = datetime.fromtimestamp(at, UTC)
        click = Click(id=name, occurred_at=when, user_id=user, item_id=item)
        key = user_key(click.tenant, user)
        return Outbound(topics.CLICKS, key, encode(click), at, click.tenant, user)

    def _comment(self, name: str, user: str, at: float) -> Outbound:
        item = course_id(self._random.randrange(self._options.items))
        when, text = datetime.fromtimestamp(at, UTC), self._random.choice(WORDS)
        comment = Comment(id=name, occurred_at=when, user_id=user, item_id=item, text=text)
        key = user_key(comment.tenant, user)
        return Outbound(topics.COMMENTS, key, encode(comment), at, comment.tenant, user)

    async def _asking(self) -> None:
        """Somebody reads lists through the API."""
        async with httpx.AsyncClient(base_url=self._parts.page_url, trust_env=False) as client:
            while True:
                user = f"probe-{self._random.randrange(PROBE_USERS)}"
                answer = await client.get(f"/v1/users/{user}/recommendations", timeout=30)
                if answer.is_server_error:
                    raise UserError(f"the API answers {answer.status_code}: {answer.text[:200]}")
                await asyncio.sleep(1 / ASKS_PER_SECOND)


def resident_bytes(pid: int) -> int:
    """VmRSS of a process (Linux).

    Raises:
        UserError: there is no /proc.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        raise UserError("soak reads memory from /proc: it needs Linux") from None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def _rounded(sample: Sample) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(msgspec.to_builtins(sample), allow_nan=True))
    for name in ("seconds", "p50_ms", "p99_ms"):
        value = getattr(sample, name)
        found[name] = round(value, 1) if math.isfinite(value) else None
    return found
