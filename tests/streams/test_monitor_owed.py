"""What a webhook has not taken when the worker ends is told by the next one; on real parts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from infra.local.stack import LocalStack
from tests.streams.test_monitor import House, batches, comments, parts  # noqa: F401 (a fixture)

pytestmark = pytest.mark.kafka


def test_what_a_webhook_has_not_taken_survives_a_crash_and_is_told_once(
    parts: LocalStack,  # noqa: F811
    tmp_path: Path,
) -> None:
    asyncio.run(_owed(parts, tmp_path))


async def _owed(stack: LocalStack, folder: Path) -> None:
    tenant = "owed"
    away = await House(stack, folder, webhook="http://127.0.0.1:9/").open()
    away.run()
    for batch in batches(comments(tenant)):
        await away.monitor.handle(batch)

    async def told() -> bool:
        """On alerts.v1, and put off by the receiver that is away."""
        return bool(await away.told(tenant)) and not away.monitor._untold

    await away.until(told, 40.0)
    alerts = {(a.fingerprint, a.state) for a in await away.told(tenant)}
    left = away.checkpoint()
    await away.close()

    back = await House(stack, folder).open(left)
    assert back.checkpoint().header == left.header  # if it crashes before they are told, too
    back.run()

    async def received() -> list[Any]:
        return [a for a in stack.received_alerts() if a["labels"]["tenant"] == tenant]

    async def all_received() -> bool:
        return {(a["fingerprint"], a["status"]) for a in await received()} >= alerts

    await back.until(all_received)
    await asyncio.sleep(2.5)  # a look more
    assert len(await received()) == len(alerts)
    assert back.monitor.changed  # the next checkpoint no longer has them
    assert await nothing_owed(back)
    await back.close()


async def nothing_owed(house: House) -> bool:
    return '"owed":{}' in house.checkpoint().header
