"""Why it spikes: the slice that holds it, the terms that tell it apart, comments that show it.

Texts come from ClickHouse: comments of the spike, the same key's comments before it (what the slice
is held against), and the tenant's before it (what the terms are held against: its praise, since a
complaint of yesterday has the words of today's).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from infra.telemetry import get_logger
from infra.warehouse import ArchiveWriter, TransientError, Warehouse
from online.spikes import Alarm, most_telling
from online.spikes_slices import Attributes, slices
from online.spikes_terms import contrastive
from streams.events import AlertComment, AlertSlice

log = get_logger("monitor")

EXAMPLES = 5
TERMS = 10
MOST = 2_000  # comments of each kind
LEAST = 100  # of the key that terms are taken from: those just before, where the spike has fewer
FILTER = {
    "item": "AND item_id = %(name)s",
    "topic": "AND has(topics, %(name)s)",
    "model": "AND concat(model_version, '/', language) = %(name)s",
}
ATTRIBUTES = ("topic", "surface", "model_version", "language")
_COLUMNS = (
    "SELECT id, text, negative, occurred_at, topics, surface, model_version, language"
    " FROM scored_comments WHERE tenant = %(tenant)s "
)
_NEWEST = " ORDER BY occurred_at DESC, id LIMIT %(limit)s"

Row = dict[str, Any]


class Causes(Struct, frozen=True):
    """What an alert says of its cause; the likeliest slice first."""

    examples: tuple[AlertComment, ...] = ()
    terms: tuple[str, ...] = ()
    slices: tuple[AlertSlice, ...] = ()


async def causes(
    warehouse: Warehouse, archive: ArchiveWriter, tenant: str, alarm: Alarm, title: str
) -> Causes:
    """Look for the cause of an alarm; nothing is said where ClickHouse does not answer.

    Args:
        title: of the item; its words are no cause.
    """
    try:
        await asyncio.to_thread(archive.flush)
        spike, before, others = await asyncio.to_thread(_rows, warehouse, tenant, alarm)
    except TransientError as error:  # an alert must not wait for ClickHouse
        log.warning("alert.without_causes", key=alarm.key, error=str(error))
        return Causes()
    return await asyncio.to_thread(_found, alarm, title, spike, before, others)


def _rows(
    warehouse: Warehouse, tenant: str, alarm: Alarm
) -> tuple[list[Row], list[Row], list[Row]]:
    kind, _, name = alarm.key.partition(":")
    values = {
        "tenant": tenant,
        "name": name,
        "start": datetime.fromtimestamp(alarm.started_at, UTC),
        "end": datetime.fromtimestamp(alarm.raised_at, UTC),
        "limit": MOST,
    }
    ours = _COLUMNS + FILTER.get(kind, "")
    earlier = " AND occurred_at < %(start)s" + _NEWEST
    spike = warehouse.query(
        ours + " AND occurred_at BETWEEN %(start)s AND %(end)s" + _NEWEST, values
    )
    before = warehouse.query(ours + earlier, values)
    return (
        spike,
        before,
        before if kind == "tenant" else warehouse.query(_COLUMNS + earlier, values),
    )


def _found(
    alarm: Alarm, title: str, spike: list[Row], before: list[Row], others: list[Row]
) -> Causes:
    chosen = most_telling([(r["id"], r["text"], r["negative"]) for r in spike], EXAMPLES)
    told = spike + before[: max(0, LEAST - len(spike))]
    terms = contrastive(
        [(r["text"], r["negative"]) for r in told],
        [(r["text"], 1.0 - r["negative"]) for r in others],
        TERMS,
        f"{title} {alarm.key.partition(':')[2]}",
    )
    held = slices(_attributes(spike), _attributes(before), alarm.baseline)
    return Causes(
        tuple(
            AlertComment(row["id"], row["text"], row["negative"], row["occurred_at"])
            for row in (spike[i] for i in chosen)
        ),
        tuple(each.term for each in terms),
        tuple(
            AlertSlice(each.attributes, each.held, each.share, each.usual, each.comments)
            for each in held
        ),
    )


def _attributes(rows: list[Row]) -> list[tuple[Attributes, float]]:
    made: list[tuple[Attributes, float]] = []
    for row in rows:
        values = {**row, "topic": row["topics"][0] if row["topics"] else ""}
        made.append(({name: str(values[name]) for name in ATTRIBUTES}, row["negative"]))
    return made
