"""Alerts whose end no comment tells: they end all the same; on real parts."""

# ruff: noqa: F811 (fixtures come by import)
from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from infra.local.stack import LocalStack
from streams import monitor, monitor_pager
from streams.events import Sentiment
from tests.streams.test_monitor import (  # noqa: F401 (a fixture)
    START,
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
    known = [shifted(message, timedelta()) for message in comments("known")]
    for batch in batches(known):
        await house.monitor.handle(batch)
    await house.until(lambda: house.told("known"), 60)
    await house.until(lambda: nothing_untold(house))
    checkpoint = house.checkpoint()
    for batch in batches(comments(tenant), first=len(known)):
        await house.monitor.handle(batch)
    await house.until(lambda: house.told(tenant), 60)
    await house.until(lambda: nothing_untold(house))
    fired = {a.fingerprint for a in await house.told(tenant)}
    await house.close()

    second = await House(parts, folder).open(checkpoint)  # of before this tenant's alert
    second.run()
    await second.until(lambda: recalled(second), 60)
    assert {key for _, key in second.sender._active} >= fired
    for n in range(84):  # the other one's goes on, for 28 hours
        message = shifted(known[-1], timedelta(minutes=20 * (n + 1)), 20_000 + n)
        await second.monitor.handle(batches([message], first=message.source_offset)[0])

    async def ended() -> bool:
        return {a.fingerprint for a in await second.told(tenant) if a.state == "resolved"} == fired

    await second.until(ended, 60)
    assert not {key for of, key in second.sender._active if of == tenant}
    assert "item:course-3" in second.monitor.firing_keys()["known"]
    known_ones = [a for a in await second.told("known") if a.key == "item:course-3"]
    assert {a.state for a in known_ones} == {"firing"}
    assert {("known", a.fingerprint) for a in known_ones} <= second.sender._active.keys()
    await second.close()


def test_a_tenant_that_says_nothing_more_does_not_fire_for_ever(
    parts: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(monitor, "SILENT_SECONDS", 3.0)
    asyncio.run(_silent(parts, tmp_path))


async def _silent(parts: LocalStack, folder: Path) -> None:
    """Of two tenants one spoke months ago by the wall clock, the other an hour ago."""
    house, tenant = await House(parts, folder).open(), "silent"
    house.run()
    since = datetime.now(UTC) - START - timedelta(minutes=90)
    lately = [shifted(message, since) for message in comments("lately")]
    for batch in batches([*comments(tenant), *lately]):
        await house.monitor.handle(batch)
    assert await house.until(lambda: house.told(tenant), 60)
    assert await house.until(lambda: house.told("lately"), 60)

    async def ended() -> bool:
        return {a.key for a in await house.told(tenant) if a.state == "resolved"} == {
            a.key for a in await house.told(tenant) if a.state == "firing"
        }

    await house.until(ended, 60)
    assert not house.monitor.firing_keys()[tenant]
    assert house.monitor.firing_keys()["lately"] >= {"item:course-3"}
    assert {a.state for a in await house.told("lately")} == {"firing"}
    await house.close()


def shifted(message: Sentiment, by: timedelta, offset: int = 10_000) -> Sentiment:
    """Another author's comment, `by` later: `offset` further in its partition."""
    return msgspec.structs.replace(
        message,
        id=f"{message.id}-{offset}",
        occurred_at=message.occurred_at + by,
        source_offset=message.source_offset + offset,
    )


async def recalled(house: House) -> bool:
    return house.monitor._pager._recalled
