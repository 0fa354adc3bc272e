"""Alerts whose end no comment tells: they end all the same; on real parts."""

# ruff: noqa: F811 (fixtures come by import)
from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from infra.local.stack import LocalStack
from streams import monitor, monitor_pager
from streams.events import Sentiment
from tests.streams.test_monitor import (  # noqa: F401 (a fixture)
    House,
    batches,
    comments,
    nothing_untold,
    parts,
)

pytestmark = pytest.mark.kafka


def test_an_alert_that_no_checkpoint_knows_ends_a_day_later(
    parts: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would fire for ever: no detector is there to resolve it."""
    monkeypatch.setattr(monitor_pager, "AGAIN_SECONDS", 0.0)
    asyncio.run(_forgotten(parts, tmp_path))


async def _forgotten(parts: LocalStack, folder: Path) -> None:
    tenant = "forgotten"
    house = await House(parts, folder).open()
    house.run()
    for batch in batches(comments(tenant)):
        await house.monitor.handle(batch)
    await house.until(lambda: house.told(tenant), 60)
    await house.until(lambda: nothing_untold(house))
    fired = {a.fingerprint for a in await house.told(tenant)}
    await house.close()

    second = await House(parts, folder).open()  # the checkpoint is lost
    second.run()
    await second.until(lambda: recalled(second), 60)
    assert {key for _, key in second.sender._active} >= fired
    later = comments(tenant, scandal=False)
    for message in (shifted(m, timedelta(days=4)) for m in later[-40:]):
        await second.monitor.handle(batches([message], first=message.source_offset)[0])

    async def ended() -> bool:
        return {a.fingerprint for a in await second.told(tenant) if a.state == "resolved"} == fired

    await second.until(ended, 60)
    assert not {key for of, key in second.sender._active if of == tenant}
    await second.close()


def test_a_tenant_that_says_nothing_more_does_not_fire_for_ever(
    parts: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(monitor, "SILENT_SECONDS", 3.0)
    asyncio.run(_silent(parts, tmp_path))


async def _silent(parts: LocalStack, folder: Path) -> None:
    house, tenant = await House(parts, folder).open(), "silent"
    house.run()
    for batch in batches(comments(tenant)):  # months ago by the wall clock
        await house.monitor.handle(batch)
    assert await house.until(lambda: house.told(tenant), 60)

    async def ended() -> bool:
        return {a.key for a in await house.told(tenant) if a.state == "resolved"} == {
            a.key for a in await house.told(tenant) if a.state == "firing"
        }

    await house.until(ended, 60)
    assert not house.monitor.firing_keys()[tenant]
    await house.close()


def shifted(message: Sentiment, by: timedelta) -> Sentiment:
    return msgspec.structs.replace(
        message, occurred_at=message.occurred_at + by, source_offset=message.source_offset + 10_000
    )


async def recalled(house: House) -> bool:
    return house.monitor._pager._recalled
