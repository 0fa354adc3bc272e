"""How fresh lists are: everything embedded, clicks at a steady rate, and a witness outside.

Start the parts → teach the learner a platform (simulated, so that there is something to rank) →
wait until the model server has read the new catalogue → warm up with clicks → measure runs. Users
take turns, so that none clicks twice within the witness's quiet time and nearly every click is a
clean probe; only the few who opted out get no list.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import uvloop
from msgspec import Struct

from infra.local.broker import BrokerChoice
from infra.settings import Settings, UserError
from streams import topics
from streams.bench_metric import read_metric
from streams.demo_parts import Parts
from streams.events import Click, encode, user_key
from streams.freshness import QUIET_SECONDS, FreshnessSummary, FreshnessWatch
from streams.pace import MAX, REAL, iterate
from streams.sender import Outbound, Sender
from streams.simulate import SimulationConfig, simulate
from streams.simulate_catalogue import course_id
from streams.simulate_users import user_name

LESSONS = 5_000  # interactions that the learner sees first, as fast as they go
WARM_UP_SECONDS = 8.0
PROBES_PER_SECOND = 100.0  # of a higher rate a random share is followed
SETTLE_SECONDS = 0.3  # two lists in a row as fresh as this: the backlog of the lessons is gone
MOST_SETTLE_SECONDS = 60.0
MOST_READ_SECONDS = 300.0  # for the catalogue's vectors
LOOK_SECONDS = 0.5
TANSU_LINGER_MS = 10  # it pays by the batch, and at 1,000 a second is the busiest part here
COMPONENTS = ("broker", "valkey", "clickhouse", "webhook", "classifier", "worker", "api")

Progress = Callable[[str, float], None]


class BenchOptions(Struct, frozen=True):
    """What to measure.

    Attributes:
        rate: clicks a second, at random times (Poisson).
        seconds: of each run.
        items: courses, all of which the learner knows and ranks.
    """

    rate: float = 200.0
    seconds: float = 30.0
    runs: int = 5
    items: int = 1_000
    broker: BrokerChoice = "auto"
    seed: int = 7

    @property
    def followed_share(self) -> float:
        """Of the clicks, chosen at random, whose lists are waited for."""
        return min(1.0, PROBES_PER_SECOND / self.rate)

    @property
    def users(self) -> int:
        """So many that a user's turn comes again after twice the quiet time."""
        return max(100, round(2 * QUIET_SECONDS * self.rate))


def bench_freshness(
    options: BenchOptions, settings: Settings, folder: Path, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """From the producer's send to the new list readable in Redis, in milliseconds.

    Args:
        folder: new or empty; the parts keep their data there.
        progress: told what is being done, and which share of it is done.

    Returns:
        `p50_ms` and `p99_ms` as medians of the runs, every run, broker, components and sizes.

    Raises:
        UserError: something could not be started or ended for good, or no list came at all.
    """
    parts = Parts(folder, options.broker, settings)
    try:
        progress("starting everything", 0.0)
        parts.start()
        bench = _Bench(options, parts, progress)
        runs, unread = uvloop.run(bench.run()), bench.without_vector()
    finally:
        parts.stop()
    if not all(run.count for run in runs):
        raise UserError("not one new list was seen: look at the worker's log (--data-dir keeps it)")
    return {
        "p50_ms": statistics.median(run.p50_ms for run in runs),
        "p99_ms": statistics.median(run.p99_ms for run in runs),
        "broker": parts.stack.broker,
        "components": [parts.stack.broker, *COMPONENTS[1:]],
        "rate": options.rate,
        "seconds": options.seconds,
        "followed_share": options.followed_share,
        "users": options.users,
        "items": options.items,
        "items_without_vector": unread,  # at the end
        "runs": [msgspec.to_builtins(run) for run in runs],
    }


class _Bench:
    def __init__(self, options: BenchOptions, parts: Parts, progress: Progress) -> None:
        self._options, self._parts, self._progress = options, parts, progress
        self._random = Random(f"bench/{options.seed}")
        self._clicks = 0

    async def run(self) -> list[FreshnessSummary]:
        """Lessons, the catalogue's vectors, warm-up, runs."""
        stack = self._parts.stack
        watch = FreshnessWatch(stack.redis_url, self._options.followed_share)
        await watch.start()
        kafka = stack.broker.startswith("kafka")
        linger_ms = 0 if kafka else TANSU_LINGER_MS
        sender = Sender(stack.kafka_url, watch.before_send, idempotent=kafka, linger_ms=linger_ms)
        await sender.start()
        try:
            await self._teach(sender)
            await self._settle(sender, watch)
            await self._read_catalogue()
            await self._click(sender, WARM_UP_SECONDS, "warming up")
            runs = []
            for number in range(1, self._options.runs + 1):
                watch.reset()
                await self._click(sender, self._options.seconds, f"run {number}")
                runs.append(await watch.settled())
            return runs
        finally:
            await sender.stop()
            await watch.stop()

    async def _teach(self, sender: Sender) -> None:
        """A platform at work, comments included."""
        seconds = 30.0
        config = SimulationConfig(
            users=self._options.users,
            items=self._options.items,
            rate=LESSONS / seconds,
            seconds=seconds,
            seed=self._options.seed,
        )
        async for outbound in iterate(simulate(config), MAX):
            await sender.send(outbound)
        await sender.flush()

    async def _settle(self, sender: Sender, watch: FreshnessWatch) -> None:
        """Wait until a list comes at once: the lessons are learned and every kernel compiled."""
        began, fast = time.monotonic(), 0
        while fast < 2:
            self._parts.check()
            if time.monotonic() - began > MOST_SETTLE_SECONDS:
                raise UserError(f"lists were not fresh within {MOST_SETTLE_SECONDS:.0f} s")
            self._progress("learning", (time.monotonic() - began) / MOST_SETTLE_SECONDS)
            watch.reset()
            await self._click(sender, 1.0, "learning")
            summary = await watch.settled()
            fast = fast + 1 if summary.p99_ms < SETTLE_SECONDS * 1000 else 0

    async def _read_catalogue(self) -> None:
        """A new catalogue keeps the model server busy once; what is measured comes after that."""
        began = time.monotonic()
        while left := await asyncio.to_thread(self.without_vector):
            self._parts.check()
            if time.monotonic() - began > MOST_READ_SECONDS:
                raise UserError(f"the catalogue was not read within {MOST_READ_SECONDS:.0f} s")
            self._progress("reading the catalogue", 1 - left / self._options.items)
            await asyncio.sleep(LOOK_SECONDS)

    def without_vector(self) -> float:
        """Items whose text the model server has not read yet, by the worker's own metric."""
        samples = read_metric(self._parts.worker_url, "springtide_items_without_vector")
        return sum(one.value for one in samples)

    async def _click(self, sender: Sender, seconds: float, doing: str) -> None:
        began = time.time()
        async for click in iterate(self._stream(seconds), REAL):
            await sender.send(click)
            if self._clicks % 20 == 0:
                self._progress(doing, (time.time() - began) / seconds)
        await sender.flush()
        self._parts.check()

    def _stream(self, seconds: float) -> Iterator[Outbound]:
        """Clicks of users in turn, at random times."""
        start = time.time()
        at = start
        while (at := at + self._random.expovariate(self._options.rate)) < start + seconds:
            self._clicks += 1
            user = user_name(self._clicks % self._options.users)
            click = Click(
                id=f"bench-{self._clicks}",
                occurred_at=datetime.fromtimestamp(at, UTC),
                user_id=user,
                item_id=course_id(self._random.randrange(self._options.items)),
            )
            key = user_key(click.tenant, user)
            yield Outbound(topics.CLICKS, key, encode(click), at, click.tenant, user)
