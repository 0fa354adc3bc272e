"""Wait until the worker has taken in everything that was sent, as its checkpoints tell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from infra.telemetry import get_logger
from infra.warehouse import TransientError, Warehouse
from streams.commands.checkpoints import summarise
from streams.demo_books import (
    COMMENTS,
    Accounts,
    Acknowledged,
    count_dead_letters,
    count_in_others,
)
from streams.demo_parts import Parts
from streams.sender import Sender

LOOK_SECONDS = 0.3
# No checkpoint moved for so long: more will not come. A worker that fell needs time to come back;
# once it has read everything, only scored comments can still be on their way.
STALL_SECONDS = 30.0
STALL_READ_SECONDS = 6.0
LATE_ALERT_SECONDS = 1.0  # from the monitor's checkpoint to the archive's last flush

log = get_logger("demo")


async def drain(parts: Parts, sender: Sender, look: Callable[[], None]) -> bool:
    """Return once all is in a checkpoint, or nothing moves any more.

    Args:
        look: called often; may raise to break off.

    Returns:
        Whether everything came through.
    """
    moved_at = time.monotonic()
    before: dict[str, Any] = {}
    while True:
        look()
        kept = await asyncio.to_thread(summarise, parts.checkpoints)
        count_in_others(sender, kept["offsets"])
        progress = {name: kept[name] for name in ("offsets", "events_learned", "duplicates")}
        if progress != before:
            moved_at, before = time.monotonic(), progress
        read = reached(kept, sender.acknowledged)
        if read and await _complete(parts, sender, kept):
            await asyncio.sleep(LATE_ALERT_SECONDS)
            return True
        if time.monotonic() - moved_at > (STALL_READ_SECONDS if read else STALL_SECONDS):
            log.warning("drain.stalled", offsets=kept["offsets"], learned=kept["events_learned"])
            return False
        await asyncio.sleep(LOOK_SECONDS)


def reached(kept: dict[str, Any], acknowledged: Acknowledged) -> bool:
    """Whether the checkpoint's offsets have come to the last acknowledged ones."""
    offsets = kept["offsets"]
    return all(
        offsets.get(f"{topic}/{partition}", -1) >= sent.last
        for (topic, partition), sent in acknowledged.items()
    )


async def _complete(parts: Parts, sender: Sender, kept: dict[str, Any]) -> bool:
    """Whether scored comments, which come later than their comments, are learned and monitored."""
    accounts = Accounts(
        sender.events_in, kept["events_learned"], kept["duplicates"], kept["ignored"], 0
    )
    missing = accounts.events_in - accounts.accounted
    if missing > 0:
        dead = await count_dead_letters(parts.stack.kafka_url, sender.acknowledged)
        if missing > dead:
            return False
    try:
        scored = await asyncio.to_thread(_scored, parts.stack.clickhouse_url)
    except TransientError:
        return False
    # The monitor may see a comment twice, never less than once.
    return bool(kept["offsets"].get("sentiment.v1/0", -1) + 1 >= scored)


def _scored(clickhouse_url: str) -> int:
    warehouse = Warehouse(clickhouse_url)
    try:
        return int(warehouse.query(COMMENTS)[0]["n"])
    finally:
        warehouse.close()
