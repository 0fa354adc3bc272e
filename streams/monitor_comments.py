"""Comments around an alarm, with their texts: of the spike, of its key before it, of the tenant.

ClickHouse has them a second after they were scored. What this worker's archive still holds is
taken from there: an alert waits for no insert.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from infra.warehouse import ArchiveWriter, Warehouse
from online.spikes import Alarm

MOST = 2_000  # comments of each kind
ENOUGH = 500  # before the spike
WINDOWS = (timedelta(hours=1), timedelta(days=1), timedelta(days=14))
TABLE = "scored_comments"
COLUMNS = (
    "id", "text", "negative", "occurred_at", "topics", "surface", "model_version", "language",
)  # fmt: skip
FILTER = {
    "item": "AND item_id = %(name)s",
    "topic": "AND has(topics, %(name)s)",
    "model": "AND concat(model_version, '/', language) = %(name)s",
}
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM {TABLE} WHERE tenant = %(tenant)s "
_NEWEST = " ORDER BY occurred_at DESC, id LIMIT %(limit)s"

Row = dict[str, Any]


class Comments(NamedTuple):
    """Rows, the newest first: of the spike, of the key before it, of the tenant before it."""

    spike: list[Row]
    before: list[Row]
    others: list[Row]


def comments_around(
    warehouse: Warehouse, archive: ArchiveWriter, tenant: str, alarm: Alarm
) -> Comments:
    """At most 2,000 of each.

    Raises:
        TransientError: ClickHouse is away.
    """
    kind, _, name = alarm.key.partition(":")
    start, end = (datetime.fromtimestamp(t, UTC) for t in (alarm.started_at, alarm.raised_at))
    values = {"tenant": tenant, "name": name, "start": start, "end": end, "limit": MOST}
    held = [row for row in _held(archive, tenant) if row["occurred_at"] <= end]
    ours = [row for row in held if _is_of(kind, name, row)]
    where = FILTER.get(kind, "")
    spike = warehouse.query(
        f"{_SELECT}{where} AND occurred_at BETWEEN %(start)s AND %(end)s{_NEWEST}", values
    )
    tenants, busy = _before(warehouse, "", values, len(WINDOWS))
    others = _merged(tenants, [row for row in held if row["occurred_at"] < start])
    before = others
    if kind != "tenant":
        found, _ = _before(warehouse, where, values, busy + 1)
        before = _merged(found, [row for row in ours if row["occurred_at"] < start])
    return Comments(
        _merged(spike, [row for row in ours if row["occurred_at"] >= start]), before, others
    )


def _before(
    warehouse: Warehouse, where: str, values: dict[str, Any], most: int
) -> tuple[list[Row], int]:
    """The newest before the start, and how many windows were needed for enough of them.

    Args:
        most: windows. Of a key not many more than of its tenant: two weeks of a tenant that has
            enough in an hour are millions of rows.
    """
    rows: list[Row] = []
    for number, window in enumerate(WINDOWS[:most], start=1):
        rows = warehouse.query(
            f"{_SELECT}{where} AND occurred_at >= %(since)s AND occurred_at < %(start)s{_NEWEST}",
            values | {"since": values["start"] - window},
        )
        if len(rows) >= ENOUGH:
            return rows, number
    return rows, most


def _held(archive: ArchiveWriter, tenant: str) -> Iterator[Row]:
    """The tenant's comments that may not be in ClickHouse yet."""
    for columns in archive.waiting(TABLE):
        for at, owner in enumerate(columns["tenant"]):
            if owner == tenant:
                yield {name: columns[name][at] for name in (*COLUMNS, "item_id")}


def _is_of(kind: str, name: str, row: Row) -> bool:
    """What FILTER says."""
    if kind == "item":
        return bool(row["item_id"] == name)
    if kind == "topic":
        return name in row["topics"]
    return kind != "model" or f"{row['model_version']}/{row['language']}" == name


def _merged(stored: list[Row], held: list[Row]) -> list[Row]:
    """Both, each comment once."""
    if not held:
        return stored
    rows = {row["id"]: row for row in (*held, *stored)}
    return sorted(rows.values(), key=lambda row: row["occurred_at"], reverse=True)[:MOST]
