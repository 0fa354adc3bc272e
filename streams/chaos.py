"""Chaos: a simulated platform on real parts, while seeds decide what is killed, paused or cut off.

Several seeds may follow each other in one house: it then lives through all of their faults, and
after each it is counted from outside what came of everything that was sent so far.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
import uvloop
from msgspec import Struct

from infra.local.broker import BrokerChoice
from infra.local.proxy import Proxies
from infra.settings import Settings
from infra.warehouse import TransientError
from streams import kafka_connection
from streams.chaos_check import Recorder, Verdict, verdict
from streams.chaos_plan import KILL, Fault, plan
from streams.chaos_round import Progress, Round
from streams.demo_parts import Parts
from streams.freshness import FreshnessWatch
from streams.sender import LINGER_MS, Outbound
from streams.simulate import COMMENTS, START, SWING, SimulationConfig, simulate

PROBES_PER_SECOND = 100.0
COPIED_LINGER_MS = 20  # each send is copied to every node, and the machine is as small as before
LATE_SECONDS = 20.0  # what a living house owes may come as late as this after the last checkpoint
COUNT_SECONDS = 120.0  # in which ClickHouse must answer, on a machine that is busy elsewhere
BETWEEN_SECONDS = 3_600.0  # of the platform's clock, from one round's last event to the next one's
# Users of another round would come back with another profile, and topics keep no order among them:
# what is taken at the moment of opting in may be ignored.
STRANGERS = 50_000  # more than come in a round
USERS_PER_RATE = 4.0  # each comes every four seconds: who is seen seldom enough is watched
LINES = {
    "valkey": "SPRINGTIDE_REDIS_URL",
    "clickhouse": "SPRINGTIDE_CLICKHOUSE_URL",
    "classifier": "SPRINGTIDE_CLASSIFIER_URL",
}


class ChaosOptions(Struct, frozen=True):
    """What to do.

    Attributes:
        rate: interactions a second, on average; by `swing` more by day, and less at night.
        comments: chance that a click leads to one.
        events: at least so many are sent, for every seed.
        nodes: of the Kafka.
        faults: in place of a seed's.
        live: events are of now, at an even rate; else days go by in a minute, with incidents.
    """

    rate: float = 500.0
    events: int = 20_000
    broker: BrokerChoice = "kafka"
    nodes: int = 1
    faults: tuple[Fault, ...] = ()
    swing: float = SWING
    comments: float = COMMENTS
    live: bool = False

    def plan(self, seed: int) -> list[Fault]:
        """The faults of a run."""
        return list(self.faults) or plan(seed, self.fault_seconds, self.nodes)

    def platform(self, seed: int, number: int, after: float) -> SimulationConfig:
        """Who sends in a run.

        Args:
            number: of runs in this house before.
            after: the platform's clock when the last one ended, epoch seconds.
        """
        config = SimulationConfig(
            rate=self.rate, seconds=math.inf, seed=seed, run=f"chaos-{seed}",
            users=round(USERS_PER_RATE * self.rate), first_user=number * STRANGERS,
            swing=self.swing, comments=self.comments, start=after + BETWEEN_SECONDS,
        )  # fmt: skip
        if self.live:
            return msgspec.structs.replace(config, start=time.time(), speed=1.0, swing=0.0)
        return config

    @property
    def fault_seconds(self) -> float:
        """In which the faults of a run begin."""
        return self.events / self.rate * 0.6


class Outcome(Struct, frozen=True):
    """One run.

    Attributes:
        stuck: whether something waited for ever, or ended for good.
        fresh_ms, recovered_seconds, after_ms: see `Round`.
        round: how many runs the house had lived through before.
        rate: interactions a second.
    """

    seed: int
    ok: bool
    stuck: bool
    verdict: dict[str, int]
    faults: list[Fault]
    fresh_ms: float
    recovered_seconds: float
    after_ms: list[float]
    round: int
    rate: float
    broker: str
    seconds: float


class _ChaosParts(Parts):
    """Two workers, whose lines lead through proxies; sender and witnesses keep their own."""

    def __init__(
        self, proxies: Proxies, folder: Path, options: ChaosOptions, settings: Settings
    ) -> None:
        super().__init__(folder, options.broker, settings, workers=2, nodes=options.nodes)
        self._proxies, self._faults = proxies, options.faults

    def _environment(self) -> dict[str, str]:
        environment = super()._environment()
        for name, setting in LINES.items():
            url = urlsplit(environment[setting])
            if url.hostname and url.port and self._may_be_cut(name):
                port = self._proxies.line(name, url.hostname, url.port)
                through = url._replace(netloc=f"{url.hostname}:{port}")
                environment[setting] = urlunsplit(through)
        return environment

    def _may_be_cut(self, name: str) -> bool:
        """A line costs the machine something even while all of it passes."""
        return not self._faults or any(
            fault.target == name and fault.kind not in KILL for fault in self._faults
        )


def run_seeds(
    seeds: Sequence[int],
    options: ChaosOptions,
    settings: Settings,
    folder: Path,
    progress: Progress,
    told: Callable[[Outcome], None],
) -> None:
    """Run seeds one after another in one house, in a new or empty folder.

    Ends after the first that does not hold: what follows it would be judged by its losses.

    Raises:
        UserError: something could not be started.
    """
    kafka_connection.mend()
    proxies = Proxies()
    parts = _ChaosParts(proxies, folder, options, settings)
    try:
        progress("starting everything", 0.0)
        parts.start()
        uvloop.run(_House(options, parts, proxies, progress).rounds(seeds, told))
    finally:
        parts.stop()
        proxies.stop()


class _House:
    """What all rounds share: the parts, the sender, and the witnesses."""

    def __init__(
        self, options: ChaosOptions, parts: Parts, proxies: Proxies, progress: Progress
    ) -> None:
        self._options, self._parts, self._proxies = options, parts, proxies
        self._progress = progress
        self._clock = START  # the platform's, epoch seconds
        stack = parts.stack
        self._watch = FreshnessWatch(stack.redis_url, min(1.0, PROBES_PER_SECOND / options.rate))
        kafka = stack.broker.startswith("kafka")
        self._sender = Recorder(
            stack.kafka_url, self._watch.before_send, idempotent=kafka,
            linger_ms=COPIED_LINGER_MS if options.nodes > 1 else LINGER_MS,
        )  # fmt: skip

    async def rounds(self, seeds: Sequence[int], told: Callable[[Outcome], None]) -> None:
        """A round a seed; after the last one the workers are stopped before it is counted."""
        await self._watch.start()
        await self._sender.start()
        try:
            for number, seed in enumerate(seeds):
                outcome = await self._round(number, seed, last=number == len(seeds) - 1)
                told(outcome)
                if not outcome.ok:
                    return
                self._parts.forgive()
        finally:
            await self._watch.stop()
            await self._sender.stop()

    async def _round(self, number: int, seed: int, last: bool) -> Outcome:
        began, before = time.monotonic(), len(self._sender.sent.kinds)
        options, faults = self._options, self._options.plan(seed)
        config = options.platform(seed, number, self._clock)
        stream = self._in_time(simulate(config))
        run = Round(
            self._parts, self._proxies, self._sender, self._watch, stream, config.speed, faults,
            options.events, lambda doing, share: self._progress(f"{seed}: {doing}", share),
        )  # fmt: skip
        await run.run()
        found = await self._count(last or run.stuck)
        # What is sent is all of it usable: a dead letter is a loss with a reason.
        return Outcome(
            seed=seed,
            ok=not (found.harms or run.stuck) and 0 <= run.recovered <= 30,
            stuck=run.stuck,
            verdict=_of_this_round(found, before),
            faults=faults,
            fresh_ms=run.fresh_ms,
            recovered_seconds=round(run.recovered, 1),
            after_ms=run.after_ms,
            round=number,
            rate=options.rate,
            broker=self._parts.stack.broker,
            seconds=round(time.monotonic() - began, 1),
        )

    def _in_time(self, stream: Iterator[Outbound]) -> Iterator[Outbound]:
        for outbound in stream:
            self._clock = max(self._clock, outbound.at)
            yield outbound

    async def _count(self, stop: bool) -> Verdict:
        if stop:
            await asyncio.to_thread(self._parts.stop_apps)
        deadline = time.monotonic() + (0.0 if stop else LATE_SECONDS)
        while True:
            try:
                found = await asyncio.to_thread(verdict, self._parts, self._sender)
            except TransientError:  # a ClickHouse that is slow to answer has lost nothing yet
                if time.monotonic() > deadline + COUNT_SECONDS:
                    raise
            else:
                if not found.harms or time.monotonic() > deadline:
                    return found
            await asyncio.sleep(1.0)


def _of_this_round(found: Verdict, before: int) -> dict[str, int]:
    """Events of this round; the harms are of all so far, and were none before."""
    counts: dict[str, Any] = msgspec.to_builtins(found)
    return {**counts, "events": found.events - before}
