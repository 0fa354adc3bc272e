"""Chaos: a simulated platform on real parts, while seeds decide what is killed, paused or cut off.

start → a quiet start, in which freshness is measured → faults → until lists are fresh again and
enough was sent → drain → stop the worker → count, from outside.
"""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import Struct

from infra.local.broker import BrokerChoice
from infra.local.proxy import Proxies
from infra.settings import Settings, UserError
from infra.telemetry import get_logger
from streams.chaos_check import Recorder, verdict
from streams.chaos_plan import Fault, plan
from streams.demo_drain import drain
from streams.demo_parts import Parts
from streams.freshness import FreshnessWatch
from streams.pace import end_task, iterate
from streams.simulate import SPEED, SimulationConfig, simulate

log = get_logger("chaos")

QUIET_SECONDS = 8.0
WINDOW_SECONDS = 3.0
PATIENCE_SECONDS = 60.0  # for freshness; what takes longer than 30 is a finding, not the end
FRESH_MS = 100.0  # fresh enough, or as fresh as twice what it was before the faults
PROBES_PER_SECOND = 100.0
LINES = {
    "valkey": "SPRINGTIDE_REDIS_URL",
    "clickhouse": "SPRINGTIDE_CLICKHOUSE_URL",
    "classifier": "SPRINGTIDE_CLASSIFIER_URL",
}

Progress = Callable[[str, float], None]


class ChaosOptions(Struct, frozen=True):
    """What to do.

    Attributes:
        rate: interactions a second.
        events: at least so many are sent.
    """

    rate: float = 500.0
    events: int = 20_000
    broker: BrokerChoice = "kafka"

    @property
    def fault_seconds(self) -> float:
        """In which the faults of a run begin."""
        return self.events / self.rate * 0.6


class Outcome(Struct, frozen=True):
    """One run.

    Attributes:
        stuck: whether something waited for ever, or ended for good.
        fresh_ms: p99 before the faults; recovered_seconds: from the end of the last fault to the
            first 3 s whose p99 was within 100 ms or twice that; −1: not within a minute.
    """

    seed: int
    ok: bool
    stuck: bool
    verdict: dict[str, int]
    faults: list[Fault]
    fresh_ms: float
    recovered_seconds: float
    broker: str
    seconds: float


class _ChaosParts(Parts):
    """Two workers, whose lines lead through proxies; sender and witnesses keep their own."""

    def __init__(
        self, proxies: Proxies, folder: Path, broker: BrokerChoice, settings: Settings
    ) -> None:
        super().__init__(folder, broker, settings, workers=2)
        self._proxies = proxies

    def _environment(self) -> dict[str, str]:
        environment = super()._environment()
        for name, setting in LINES.items():
            url = urlsplit(environment[setting])
            if url.hostname and url.port:
                port = self._proxies.line(name, url.hostname, url.port)
                through = url._replace(netloc=f"{url.hostname}:{port}")
                environment[setting] = urlunsplit(through)
        return environment


def run_seed(
    seed: int, options: ChaosOptions, settings: Settings, folder: Path, progress: Progress
) -> Outcome:
    """One run in a new or empty folder.

    Raises:
        UserError: something could not be started.
    """
    began = time.monotonic()
    proxies = Proxies()
    parts = _ChaosParts(proxies, folder, options.broker, settings)
    faults = plan(seed, options.fault_seconds)
    try:
        progress("starting everything", 0.0)
        parts.start()
        run = _Run(seed, options, parts, proxies, faults, progress)
        asyncio.run(run.run())
        parts.stop_apps()
        found = verdict(parts, run.sender)
        counts = msgspec.to_builtins(found)
        # What is sent is all of it usable: a dead letter is a loss with a reason.
        harms = (found.lost, found.doubled, found.stale, found.dead_lettered, found.alerts_doubled)
        return Outcome(
            seed=seed,
            ok=not (any(harms) or run.stuck) and 0 <= run.recovered <= 30,
            stuck=run.stuck,
            verdict=counts,
            faults=faults,
            fresh_ms=run.fresh_ms,
            recovered_seconds=round(run.recovered, 1),
            broker=parts.stack.broker,
            seconds=round(time.monotonic() - began, 1),
        )
    finally:
        parts.stop()
        proxies.stop()


class _Run:
    """What happens between start and stop."""

    def __init__(
        self,
        seed: int,
        options: ChaosOptions,
        parts: Parts,
        proxies: Proxies,
        faults: list[Fault],
        progress: Progress,
    ) -> None:
        self._options, self._parts, self._proxies = options, parts, proxies
        self._faults, self._progress = faults, progress
        stack = parts.stack
        self._watch = FreshnessWatch(stack.redis_url, min(1.0, PROBES_PER_SECOND / options.rate))
        kafka = stack.broker.startswith("kafka")
        self.sender = Recorder(stack.kafka_url, self._watch.before_send, idempotent=kafka)
        self._stream = simulate(
            SimulationConfig(rate=options.rate, seconds=math.inf, seed=seed, users=2_000)
        )
        self.fresh_ms = math.inf
        self.recovered = -1.0
        self.stuck = False

    async def run(self) -> None:
        """Send, disturb, wait, drain."""
        await self._watch.start()
        await self.sender.start()
        sending = asyncio.create_task(self._send())
        try:
            await asyncio.sleep(QUIET_SECONDS / 2)
            self.fresh_ms = await self._window(QUIET_SECONDS / 2)
            await self._disturb()
            await self._recover(sending)
            await end_task(sending)
            self._progress("waiting until all is in a checkpoint", 0.9)
            await self.sender.flush()
            self.stuck = not await drain(self._parts, self.sender, self._parts.check)
        except UserError as error:  # a part ended for good
            log.warning("chaos.stuck", error=str(error))
            self.stuck = True
        finally:
            await end_task(sending)
            await self._watch.stop()
            await self.sender.stop()

    async def _send(self) -> None:
        async for outbound in iterate(self._stream, SPEED):
            await self.sender.send(outbound)

    async def _window(self, seconds: float) -> float:
        """p99 of so many seconds, ms; infinite where nothing was sent to be waited for."""
        self._watch.reset()
        await asyncio.sleep(seconds)
        found = self._watch.summary(waiting=True)
        return found.p99_ms if found.count else math.inf

    async def _disturb(self) -> None:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, fault in enumerate(self._faults):
                await asyncio.sleep(max(0.0, began + fault.at - time.monotonic()))
                share = 0.1 + 0.6 * number / len(self._faults)
                self._progress(f"{fault.kind} {fault.target}", share)
                group.create_task(self._hit(fault))

    async def _hit(self, fault: Fault) -> None:
        log.info("chaos.fault", **msgspec.to_builtins(fault))
        if fault.kind == "kill":
            self._parts.signal(fault.target, signal.SIGKILL)
        elif fault.kind == "pause":
            self._parts.signal(fault.target, signal.SIGSTOP)
            await asyncio.sleep(fault.seconds)
            self._parts.signal(fault.target, signal.SIGCONT)
        else:
            await asyncio.to_thread(self._proxies.set, fault.target, fault.kind)
            await asyncio.sleep(fault.seconds)
            await asyncio.to_thread(self._proxies.set, fault.target, "pass")

    async def _recover(self, sending: asyncio.Task[None]) -> None:
        """Until lists are as fresh as before and enough was sent; at most a minute."""
        ended = time.monotonic()
        fresh = max(FRESH_MS, 2 * self.fresh_ms)
        while time.monotonic() - ended < PATIENCE_SECONDS or not self._enough():
            self._parts.check()
            if sending.done():
                sending.result()
            if self.recovered >= 0 and self._enough():
                return
            since = time.monotonic() - ended
            self._progress("waiting for fresh lists", 0.7 + 0.2 * min(1.0, since / 60))
            p99 = await self._window(WINDOW_SECONDS)
            if self.recovered < 0 and p99 <= fresh:
                self.recovered = since

    def _enough(self) -> bool:
        return self.sender.events_in >= self._options.events
