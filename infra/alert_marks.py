"""What people said of alerts, in ClickHouse: acknowledged, or snoozed until a time.

A mark names the incident's fingerprint, which a replay or a crash does not change: marks hold
whatever happens to the processes.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Literal

from infra.telemetry import get_logger
from infra.warehouse import Warehouse, WarehouseError
from infra.warehouse_client import TransientError

Action = Literal["acknowledge", "snooze"]
Incident = tuple[str, str]  # tenant, fingerprint

log = get_logger("alerting")

# The last snooze of an incident holds, also where it ends an earlier one.
SNOOZED = """SELECT tenant, fingerprint, argMax(until, marked_at) AS snoozed_until
FROM alert_marks WHERE action = 'snooze' AND marked_at >= now() - INTERVAL 31 DAY
GROUP BY tenant, fingerprint HAVING snoozed_until > now64(3)"""

KNOWN = """SELECT tenant FROM alerts
WHERE tenant = %(tenant)s AND fingerprint = %(fingerprint)s LIMIT 1"""


class AlertMarks:
    """Marks of every tenant; ClickHouse's errors pass from what writes, never from `snoozed`."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._known: frozenset[Incident] = frozenset()

    async def labels(self, tenant: str, fingerprint: str) -> dict[str, str] | None:
        """What Alertmanager knows this incident by, and no other of its key; None: no such one."""
        parameters = {"tenant": tenant, "fingerprint": fingerprint}
        rows = await asyncio.to_thread(self._warehouse.query, KNOWN, parameters)
        return {"tenant": tenant, "incident": fingerprint} if rows else None

    async def mark(
        self, tenant: str, fingerprint: str, action: Action, by: str, at: datetime, until: datetime
    ) -> None:
        """Write a mark; returns once ClickHouse has it."""
        row: dict[str, list[Any]] = {
            "tenant": [tenant],
            "fingerprint": [fingerprint],
            "action": [action],
            "marked_at": [at],
            "until": [until],
            "marked_by": [by],
        }
        await asyncio.to_thread(self._warehouse.insert, "alert_marks", row, "")

    async def snoozed(self) -> frozenset[Incident]:
        """Incidents that are snoozed now; what was known before while ClickHouse is away."""
        try:
            rows = await asyncio.to_thread(self._warehouse.query, SNOOZED)
        except (TransientError, WarehouseError) as error:
            log.warning("alert.snoozes_unknown", error=type(error).__name__)
            return self._known
        self._known = frozenset((row["tenant"], row["fingerprint"]) for row in rows)
        return self._known


def utc_now() -> datetime:
    """Now, in whole milliseconds, as ClickHouse keeps it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
