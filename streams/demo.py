"""The demo: everything at work on embedded parts, then the books.

start (everything at once) → play (send and show) → drain (until the last event is in a checkpoint)
→ stop the worker → close the books, from outside → stop the rest. No process is left, whatever
happens on the way.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from infra.local.broker import BrokerChoice
from infra.settings import Settings, UserError
from streams.demo_books import close_books
from streams.demo_drain import drain
from streams.demo_feed import Feed, FeedOptions
from streams.demo_glance import Watch
from streams.demo_looks import Readers
from streams.demo_parts import WORKER, Parts
from streams.demo_screen import Screen
from streams.freshness import FreshnessSummary, FreshnessWatch
from streams.pace import end_task, iterate
from streams.sender import Sender
from streams.simulate import Look

LOOK_SECONDS = 1.0
GUARD_SECONDS = 0.1
EXPLORE_EVERY = 20  # one slot in so many
NOTICE_SECONDS = 0.5  # until the supervisor has noticed that a process ended


class DemoOptions(Struct, frozen=True):
    """What to show, and where.

    Attributes:
        data_dir: new or empty, and kept; None: a temporary one, which goes unless `keep`.
        port: of the page; 0: a free one.
        worker: the worker's command.
    """

    feed: FeedOptions
    broker: BrokerChoice = "auto"
    data_dir: Path | None = None
    port: int = 0
    keep: bool = False
    worker: tuple[str, ...] = WORKER


class Interrupted(BaseException):
    """SIGINT, SIGTERM or SIGHUP (a closed terminal): stop everything, no books."""


class Signals:
    """The first signal stops the demo; those after it must not break off the stopping.

    During the start it raises where the program stands; while the event loop runs, `check` does.
    """

    def __init__(self) -> None:
        self.caught = 0
        self.raises = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._catch)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup leaves it
            signal.signal(signal.SIGHUP, self._catch)

    def _catch(self, number: int, _: object) -> None:
        first, self.caught = not self.caught, self.caught or number
        if first and self.raises:
            raise Interrupted

    def check(self) -> None:
        """Raise if a signal has come."""
        if self.caught:
            raise Interrupted


def run_demo(options: DemoOptions, settings: Settings, screen: Screen, signals: Signals) -> Any:
    """Run from start to books.

    Returns:
        The summary of design.md.

    Raises:
        UserError: something could not be started or used, or ended for good.
        Interrupted: by a signal.
    """
    feed = Feed(options.feed)
    with feed.open(), _folder(options, screen) as folder:
        if "explore_every" not in settings.model_fields_set:
            settings = settings.model_copy(update={"explore_every": EXPLORE_EVERY})
        parts = Parts(folder, options.broker, settings, options.port, options.worker)
        try:
            began = time.monotonic()
            screen.say("starting Kafka, Valkey, ClickHouse, classifier, worker and page …")
            parts.start()
            signals.check()
            screen.say(f"ready after {time.monotonic() - began:.1f} s on {parts.stack.broker}")
            screen.say(f"page: {parts.page_url}")
            signals.raises = False
            sender, freshness = asyncio.run(_Play(parts, feed, options, screen, signals).run())
            parts.stop_apps()
            screen.say("closing the books …")
            return close_books(parts, sender, freshness)
        finally:
            signals.raises = False
            parts.stop()


class _Play:
    """What happens while everything runs."""

    def __init__(
        self, parts: Parts, feed: Feed, options: DemoOptions, screen: Screen, signals: Signals
    ) -> None:
        self._parts, self._feed, self._screen, self._signals = parts, feed, screen, signals
        self._seconds = options.feed.seconds

    async def run(self) -> tuple[Sender, FreshnessSummary]:
        """Send, show, drain."""
        stack = self._parts.stack
        freshness = FreshnessWatch(stack.redis_url)
        sender = Sender(
            stack.kafka_url,
            freshness.before_send,
            idempotent=stack.broker.startswith("kafka"),
        )
        try:
            await self._send_and_drain(sender, freshness)
            return sender, await freshness.stop()
        except Exception:
            await asyncio.sleep(NOTICE_SECONDS)
            self._parts.check()  # a part that fell is the cause, not what fell over it
            raise
        finally:
            await sender.stop()

    async def _send_and_drain(self, sender: Sender, freshness: FreshnessWatch) -> None:
        await freshness.start()
        await sender.start()
        watch = Watch(self._parts, self._feed, sender, freshness)
        showing = asyncio.create_task(self._show(watch))
        try:
            await self._send(sender)
            await self._guarded(asyncio.create_task(sender.flush()))
            self._feed.require_any()
            self._screen.say(
                "all sent; waiting until it is in a checkpoint … " + self._feed.left_out()
            )
            await drain(self._parts, sender, self._look)
        finally:
            await end_task(showing)
            watch.close()

    async def _send(self, sender: Sender) -> None:
        """Until the feed or the time ends."""
        sending = asyncio.create_task(self._send_all(sender))
        seconds = self._seconds if self._seconds < math.inf else None
        await self._guarded(sending, seconds)

    async def _send_all(self, sender: Sender) -> None:
        readers = Readers(self._parts.page_url)
        try:
            async for outbound in iterate(self._feed, self._feed.speed):
                if isinstance(outbound, Look):
                    readers.open(outbound)
                else:
                    await sender.send(outbound)
        finally:
            await readers.close()

    async def _guarded(self, task: asyncio.Task[None], seconds: float | None = None) -> None:
        """Wait for a task, at most so long, while signals and dead processes break it off."""
        until = math.inf if seconds is None else time.monotonic() + seconds
        try:
            while not task.done() and time.monotonic() < until:
                self._look()
                await asyncio.wait({task}, timeout=min(GUARD_SECONDS, until - time.monotonic()))
        finally:
            await end_task(task)
        if not task.cancelled():
            task.result()

    def _look(self) -> None:
        self._signals.check()
        self._parts.check()

    async def _show(self, watch: Watch) -> None:
        while True:
            self._screen.show(await watch.look())
            await asyncio.sleep(LOOK_SECONDS)


@contextmanager
def _folder(options: DemoOptions, screen: Screen) -> Iterator[Path]:
    """The data directory; a temporary one goes at the end."""
    if options.data_dir is not None:
        if (options.data_dir / "checkpoints").exists():
            raise UserError(
                f"{options.data_dir} holds an earlier run: the demo starts from nothing, so name "
                "another --data-dir or remove this one"
            )
        yield options.data_dir
        return
    folder = Path(tempfile.mkdtemp(prefix="springtide-demo-"))
    keep = options.keep
    try:
        yield folder
    except UserError:
        keep = True  # the message speaks of its logs
        raise
    finally:
        if keep:
            screen.say(f"kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
