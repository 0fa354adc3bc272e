"""The pace: event time against the wall clock."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from infra.settings import UserError
from streams import topics
from streams.pace import MAX, end_task, iterate, parse_speed
from streams.sender import Outbound


@pytest.mark.parametrize(
    ("text", "speed"),
    [("max", MAX), ("real", 1.0), ("10x", 10.0), ("2.5×", 2.5), (" 3 ", 3.0), ("MAX", MAX)],
)
def test_speeds_are_read(text: str, speed: float) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["", "x", "0", "-1x", "nan", "inf", "fast"])
def test_what_is_no_speed_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match="use max, real, or a factor"):
        parse_speed(text)


def click(at: float) -> Outbound:
    return Outbound(topics.CLICKS, b"default/u", b"{}", at, "default", "u")


def arrivals(outbounds: list[Outbound], speed: float) -> list[float]:
    """Seconds after the start at which each came."""

    async def collect() -> list[float]:
        started = time.monotonic()
        return [time.monotonic() - started async for _ in iterate(outbounds, speed)]

    return asyncio.run(collect())


def test_events_come_when_their_time_has_come() -> None:
    came = arrivals([click(1000.0), click(1010.0), click(1020.0)], speed=100.0)
    assert came[0] < 0.05
    assert 0.1 <= came[1] < 0.18 and 0.2 <= came[2] < 0.28


def test_max_never_waits() -> None:
    assert arrivals([click(at * 1e6) for at in range(500)], MAX)[-1] < 0.5


def test_catalogue_late_timeless_and_future_messages_pass_at_once() -> None:
    catalogue = [Outbound(topics.ITEMS, b"default/i", b"{}", at) for at in (0.0, 500.0)]
    late = [click(1e11), click(2000.0), click(1.0), click(math.nan), click(1e11), click(2000.0)]
    assert arrivals(catalogue + late, speed=1.0)[-1] < 0.3


def test_a_slow_consumer_catches_up() -> None:
    async def consume() -> float:
        started = time.monotonic()
        async for outbound in iterate([click(at / 100) for at in range(30)], 1.0):
            if outbound.at == 0:
                await asyncio.sleep(0.2)
        return time.monotonic() - started

    assert asyncio.run(consume()) < 0.4


def test_a_task_that_swallows_a_cancellation_ends_all_the_same() -> None:
    async def stubborn() -> None:
        for _ in range(2):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue
        await asyncio.sleep(60)

    async def run() -> None:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0.01)
        await end_task(task)
        assert task.cancelled()

    asyncio.run(asyncio.wait_for(run(), 5))
