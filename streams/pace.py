"""How fast a replay or simulation runs: as fast as it can, in real time, or N times that.

And how it is ended.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable
from typing import Protocol, TypeVar

from infra.settings import UserError
from streams.events import FUTURE_SECONDS

MAX = math.inf
REAL = 1.0
YIELD_EVERY = 100
CANCEL_SECONDS = 0.1


class HasTime(Protocol):
    """Something that happens at `at`, epoch seconds; the clock starts with an interaction."""

    @property
    def at(self) -> float:
        """Epoch seconds."""

    @property
    def is_interaction(self) -> bool:
        """Whether it counts as input."""


Timed = TypeVar("Timed", bound=HasTime)


def parse_speed(text: str) -> float:
    """`max`, `real`, or how many times real time: `10`, `10x`, `10×`.

    Returns:
        Event seconds per second of the wall clock; infinity for `max`.

    Raises:
        UserError: it is none of these, or not above zero.
    """
    word = text.strip().lower()
    if word == "max":
        return MAX
    if word == "real":
        return REAL
    try:
        speed = float(word.removesuffix("x").removesuffix("×"))
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise UserError(f"--speed {text}: use max, real, or a factor such as 10x")
    return speed


async def iterate(outbounds: Iterable[Timed], speed: float) -> AsyncIterator[Timed]:
    """Yield each message when its time has come.

    The clock starts with the first interaction: the catalogue and the profiles before it pass at
    once, and so does whatever is late, out of order, or in the future (it will be a dead letter; to
    wait for it might take a lifetime). A consumer that falls behind is not waited
    for; what is due is then given at once, so that the average speed holds.

    Args:
        outbounds: in event-time order.
        speed: event seconds per wall-clock second; `MAX` never waits.
    """
    origin = started = None
    for count, outbound in enumerate(outbounds):
        if speed < MAX:
            due_ever = outbound.at <= time.time() + FUTURE_SECONDS
            if origin is None and outbound.is_interaction and due_ever:
                origin, started = outbound.at, time.monotonic()
            if origin is not None and started is not None and due_ever:
                due = started + (outbound.at - origin) / speed
                await _sleep_until(due)
        if count % YIELD_EVERY == 0:
            await asyncio.sleep(0)
        yield outbound


async def _sleep_until(due: float) -> None:
    wait = due - time.monotonic()
    if wait > 0:
        await asyncio.sleep(wait)


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancel until it ends: Python 3.11's `wait_for` may swallow a cancellation, and sent on."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_SECONDS)
