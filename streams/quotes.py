"""What an alert quotes: by id on alerts.v1, in words only where an erasure finds them.

alerts.v1 is kept for 90 days and never rewritten, so it names the comments that tell what an alert
is about and leaves their words out. ClickHouse has the words already, since the examples were
chosen there; the archive puts them into its own row of the alert, from which an erasure takes them.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import msgspec

from infra.telemetry import get_logger
from infra.warehouse import TransientError, Warehouse
from streams.events import Alert

log = get_logger("archive")

RETRY_SECONDS = 0.5
PATIENCE_SECONDS = 5.0  # a worker's buffer is flushed every second
# By time, which has an index: ids alone are looked for in every row that there is.
TEXTS = """SELECT id, any(text) AS text FROM scored_comments
WHERE tenant = %(tenant)s AND id IN %(ids)s AND occurred_at BETWEEN %(first)s AND %(last)s
GROUP BY id"""
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)  # times are kept to the millisecond


def without_words(alert: Alert) -> Alert:
    """The alert as alerts.v1 keeps it: its examples have ids and no text."""
    bare = tuple(msgspec.structs.replace(one, text="") for one in alert.examples)
    return msgspec.structs.replace(alert, examples=bare)


async def with_words(warehouse: Warehouse, alert: Alert) -> Alert:
    """The same with the texts of those comments that are there; those of others are left out.

    Waits a little for rows that are on their way, and for ClickHouse as long as it takes: without
    it the alert's row could not be written either.
    """
    ids = [example.id for example in alert.examples]
    if all(example.text for example in alert.examples):
        return alert
    until = time.monotonic() + PATIENCE_SECONDS
    first, last = _between(alert)
    while True:
        try:
            asked = {"tenant": alert.tenant, "ids": ids, "first": first, "last": last}
            rows = await asyncio.to_thread(warehouse.query, TEXTS, asked)
            if len(rows) == len(set(ids)) or time.monotonic() > until:
                break
        except TransientError as error:
            log.warning("clickhouse.away", error=str(error))
        await asyncio.sleep(RETRY_SECONDS)
    texts = {row["id"]: row["text"] for row in rows}
    known = [
        msgspec.structs.replace(example, text=texts[example.id])
        for example in alert.examples
        if example.id in texts
    ]
    return msgspec.structs.replace(alert, examples=tuple(known))


def _between(alert: Alert) -> tuple[datetime, datetime]:
    """When the examples were written; ever, where one does not say."""
    times = [example.occurred_at for example in alert.examples if example.occurred_at is not None]
    if len(times) < len(alert.examples):
        return ALWAYS
    return min(times) - SECOND, max(times) + SECOND
