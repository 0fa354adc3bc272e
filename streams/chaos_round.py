"""One round of chaos: a quiet time, faults, until lists are fresh again, until all of it is in."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec

from infra.local.proxy import Proxies
from infra.settings import UserError
from infra.telemetry import get_logger
from streams.chaos_check import Recorder
from streams.chaos_plan import Fault
from streams.demo_drain import drain
from streams.demo_parts import Parts
from streams.freshness import FreshnessWatch
from streams.pace import end_task, iterate
from streams.sender import Outbound

log = get_logger("chaos")

WINDOW_SECONDS = 3.0
SETTLE_SECONDS = 60.0  # until lists are fresh before the first fault
PATIENCE_SECONDS = 33.0  # for freshness: what takes longer than 30 is a finding
FRESH_MS = 100.0

Progress = Callable[[str, float], None]


class Round:
    """Send, disturb, wait, drain.

    Args:
        stream: what is sent, endless.
        speed: of its clock, in seconds per second.
        events: at least so many are sent.

    Attributes:
        fresh_ms: p99 before the faults, ms: the first 3 s with at most 100, else what it was after
            60 s.
        recovered: seconds from the end of the last fault to the first 3 s that were as fresh; −1:
            not within 33.
        after_ms: p99 of each 3 s after the faults, ms; −1: nothing was to be waited for.
        stuck: whether something waited for ever, or ended for good.
    """

    def __init__(
        self,
        parts: Parts,
        proxies: Proxies,
        sender: Recorder,
        watch: FreshnessWatch,
        stream: Iterator[Outbound],
        speed: float,
        faults: list[Fault],
        events: int,
        progress: Progress,
    ) -> None:
        self._parts, self._proxies = parts, proxies
        self._sender, self._watch = sender, watch
        self._stream, self._speed = stream, speed
        self._faults, self._progress = faults, progress
        self._enough_at = sender.events_in + events
        self.fresh_ms = math.inf
        self.recovered = -1.0
        self.after_ms: list[float] = []
        self.stuck = False

    async def run(self) -> None:
        """All of it."""
        sending = asyncio.create_task(self._send())
        try:
            await self._settle(sending)
            await self._disturb()
            await self._recover(sending)
            await end_task(sending)
            self._progress("waiting until all is in a checkpoint", 0.9)
            await self._sender.flush()
            self.stuck = not await drain(self._parts, self._sender, self._parts.check)
        except UserError as error:  # a part ended for good
            log.warning("chaos.stuck", error=str(error))
            self.stuck = True
        finally:
            await end_task(sending)

    async def _send(self) -> None:
        async for outbound in iterate(self._stream, self._speed):
            await self._sender.send(outbound)

    async def _windows(self, sending: asyncio.Task[None]) -> AsyncIterator[float]:
        """p99 of 3 s after 3 s, ms; infinite where nothing was sent to be waited for."""
        while True:
            self._parts.check()
            if sending.done():
                sending.result()
            self._watch.reset()
            await asyncio.sleep(WINDOW_SECONDS)
            found = self._watch.summary(waiting=True)
            yield found.p99_ms if found.count else math.inf

    async def _settle(self, sending: asyncio.Task[None]) -> None:
        began = time.monotonic()
        async for p99 in self._windows(sending):
            self.fresh_ms = p99
            since = time.monotonic() - began
            self._progress("waiting for a quiet start", 0.1 * min(1.0, since / SETTLE_SECONDS))
            if self.fresh_ms <= FRESH_MS or since > SETTLE_SECONDS:
                return

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
        """Until lists are as fresh as before, for at most 33 s, and enough was sent."""
        ended = time.monotonic()
        # Where no list was seen before the faults, nothing is known that would excuse more.
        fresh = max(FRESH_MS, self.fresh_ms) if math.isfinite(self.fresh_ms) else FRESH_MS
        async for p99 in self._windows(sending):
            since = time.monotonic() - ended
            self.after_ms.append(round(p99, 1) if math.isfinite(p99) else -1.0)
            self._progress(
                "waiting for fresh lists", 0.7 + 0.2 * min(1.0, since / PATIENCE_SECONDS)
            )
            if self.recovered < 0 and p99 <= fresh:
                self.recovered = since - WINDOW_SECONDS
            over = self.recovered >= 0 or since > PATIENCE_SECONDS
            if over and self._sender.events_in >= self._enough_at:
                return
