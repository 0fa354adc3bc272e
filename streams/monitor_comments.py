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


class CommentsAround:
    """Asks for them; knows how far back a tenant's comments must be looked for."""

    def __init__(self, warehouse: Warehouse, archive: ArchiveWriter) -> None:
        self._warehouse = warehouse
        self._archive = archive
        self._window: dict[str, int] = {}  # of `WINDOWS`, that held enough of a tenant's last time

    def find(self, tenant: str, alarm: Alarm) -> Comments:
        """At most 2,000 of each.

        Raises:
            TransientError: ClickHouse is away.
        """
        kind, _, name = alarm.key.partition(":")
        start, end = (datetime.fromtimestamp(at, UTC) for at in (alarm.started_at, alarm.raised_at))
        values = {"tenant": tenant, "name": name, "start": start, "end": end, "limit": MOST}
        held = [row for row in _held(self._archive, tenant) if row["occurred_at"] <= end]
        ours = [row for row in held if _is_of(kind, name, row)]
        where = FILTER.get(kind, "")
        spike = self._warehouse.query(
            f"{_SELECT}{where} AND occurred_at BETWEEN %(start)s AND %(end)s{_NEWEST}", values
        )
        others = _merged(
            self._of_tenant(values), [row for row in held if row["occurred_at"] < start]
        )
        before = others
        if kind != "tenant":
            found = self._of_key(where, values, self._window[tenant])
            before = _merged(found, [row for row in ours if row["occurred_at"] < start])
        return Comments(
            _merged(spike, [row for row in ours if row["occurred_at"] >= start]), before, others
        )

    def _of_tenant(self, values: dict[str, Any]) -> list[Row]:
        """The newest before the start; further back only where these are too few."""
        tenant, start = values["tenant"], values["start"]
        rows: list[Row] = []
        for window in range(self._window.get(tenant, 0), len(WINDOWS)):
            self._window[tenant] = window
            rows = self._before("", values, WINDOWS[window])
            if len(rows) >= ENOUGH:
                age = start - rows[ENOUGH - 1]["occurred_at"]
                self._window[tenant] = next(w for w, width in enumerate(WINDOWS) if age <= width)
                break
        return rows

    def _of_key(self, where: str, values: dict[str, Any], window: int) -> list[Row]:
        """The same of a key, but one window more than its tenant at most: two weeks of a tenant
        that has enough in an hour are millions of rows."""
        rows: list[Row] = []
        for width in WINDOWS[window : window + 2]:
            rows = self._before(where, values, width)
            if len(rows) >= ENOUGH:
                break
        return rows

    def _before(self, where: str, values: dict[str, Any], window: timedelta) -> list[Row]:
        return self._warehouse.query(
            f"{_SELECT}{where} AND occurred_at >= %(since)s AND occurred_at < %(start)s{_NEWEST}",
            values | {"since": values["start"] - window},
        )


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
