"""A monitor that lets its stream go while it is about to tell an alarm; on real parts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from infra.local.stack import LocalStack
from streams.monitor_causes import CauseFinder
from tests.streams.test_monitor import House, batches, comments, parts  # noqa: F401 (a fixture)

pytestmark = pytest.mark.kafka


def test_who_lets_the_stream_go_while_it_looks_for_causes_tells_nothing(
    parts: LocalStack,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asyncio.run(_lets_go(parts, tmp_path, monkeypatch))


async def _lets_go(stack: LocalStack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house, tenant = await House(stack, folder).open(), "lets-go"
    found, asked = CauseFinder.find, asyncio.Event()

    async def slowly(finder: CauseFinder, of: str, *others: Any) -> Any:
        if of == tenant and not asked.is_set():
            asked.set()
            house.monitor.let_go()  # as at a rebalance, and another worker tells it meanwhile
        return await found(finder, of, *others)

    monkeypatch.setattr(CauseFinder, "find", slowly)
    house.run()
    for batch in batches(comments(tenant)):
        if not asked.is_set():
            await asyncio.wait({asyncio.create_task(house.monitor.handle(batch))}, timeout=0.5)
    await asyncio.wait_for(asked.wait(), 20)
    await asyncio.sleep(0.5)
    assert house.task is not None and not house.task.done()
    assert await house.told(tenant) == []
    await house.close()


def test_who_lets_the_stream_go_posts_its_alerts_no_more(
    parts: LocalStack,  # noqa: F811
    tmp_path: Path,
) -> None:
    asyncio.run(_posts_no_more(parts, tmp_path))


async def _posts_no_more(stack: LocalStack, folder: Path) -> None:
    house, tenant = await House(stack, folder).open(), "no-more"
    house.run()
    for batch in batches(comments(tenant)):
        await house.monitor.handle(batch)

    async def told() -> bool:
        return any(of == tenant for of, _ in house.sender._active)

    await house.until(told)
    house.monitor.let_go()
    assert not house.sender._active
    await house.close()
