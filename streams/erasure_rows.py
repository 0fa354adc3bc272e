"""What is left of an erased user once the learner forgot him: rows, and records of users.v1.

Rows go by mutations of ClickHouse, which rewrite the parts that hold them; a sum over many people
that holds no id (`learner_rollup`, `sentiment_rollup`) stays. On users.v1 a null takes the place of
the request once a checkpoint holds its effect: compaction then removes everything of that key. A
segment that is still written to is not compacted, so a few empty records follow that close it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from infra.telemetry import get_logger
from infra.warehouse import TransientError, Warehouse
from streams import topics
from streams.erasure import DERIVED_GRACE_MS
from streams.events import Erasure
from streams.outlet import Outgoing
from streams.river import River

log = get_logger("erasure")

TABLES = ("interactions", "scored_comments", "served", "list_writes")
# Again after a while: a row that was on its way at the first time is there at the second.
PASSES_SECONDS = (0.5, 20.0)
STEP_SECONDS = 0.25
RECENT = timedelta(days=1)  # after a restart, what it may have broken off
CLOSING_SECONDS = topics.PROFILE_SEGMENT_SECONDS + 1.0
CLOSINGS = 4
FILLER = b"~"  # no tenant's: theirs hold a slash

_OF_USER = "tenant = %(tenant)s AND user_key IN %(keys)s"
_NOW = " SETTINGS mutations_sync = 1"


class _Buried(NamedTuple):
    key: bytes
    partition: int
    offset: int


class ErasedRows:
    """Removes what is left, in the background; what ClickHouse refuses now is tried again.

    Args:
        holds: (partition, topic, offset) → whether a checkpoint on disk holds its effect.
    """

    def __init__(
        self, river: River, warehouse: Warehouse, holds: Callable[[int, str, int], bool]
    ) -> None:
        self._river = river
        self._warehouse = warehouse
        self._holds = holds
        self._due: list[tuple[float, Erasure]] = []
        self._buried: list[_Buried] = []
        self._closings: list[tuple[float, int]] = []
        river.erasures.on_erased = self._erased

    def bury(self, key: bytes, partition: int, offset: int) -> None:
        """The request at this place of users.v1 has had its effect in memory."""
        self._buried.append(_Buried(key, partition, offset))

    def _erased(self, erasure: Erasure) -> None:
        if erasure.erased_at > datetime.now(UTC) - RECENT:
            now = time.monotonic()
            self._due += [(now + wait, erasure) for wait in PASSES_SECONDS]

    async def run(self) -> None:
        """Work for as long as the worker lives."""
        while True:
            await asyncio.sleep(STEP_SECONDS)
            await self._remove_rows()
            await self._null_requests()
            await self._close_segments()

    async def _remove_rows(self) -> None:
        now = time.monotonic()
        due = [erasure for at, erasure in self._due if at <= now]
        if not due:
            return
        self._due = [(at, erasure) for at, erasure in self._due if at > now]
        for erasure in due:
            # Whoever owns the user's partition has his rows; another worker may take it over.
            if erasure.partition not in self._river.partitions:
                if not self._river.partitions:  # none is assigned yet
                    self._again(erasure)
                continue
            try:
                await asyncio.to_thread(self._river.archive.flush)
                removed = await asyncio.to_thread(remove_rows, self._warehouse, erasure)
                log.info("erasure.rows_removed", rows=removed)
            except TransientError as error:
                log.warning("erasure.waits", error=str(error))
                self._again(erasure)

    def _again(self, erasure: Erasure) -> None:
        self._due.append((time.monotonic() + 2.0, erasure))

    async def _null_requests(self) -> None:
        done = [one for one in self._buried if self._holds(one.partition, topics.USERS, one.offset)]
        if not done:
            return
        self._buried = [one for one in self._buried if one not in done]
        await self._river.outlet.write(
            [Outgoing(topics.USERS, one.key, None, one.partition) for one in done]
        )
        now = time.monotonic()
        for partition in {one.partition for one in done}:
            self._closings += [
                (now + (n + 1) * CLOSING_SECONDS, partition) for n in range(CLOSINGS)
            ]

    async def _close_segments(self) -> None:
        now = time.monotonic()
        due = {partition for at, partition in self._closings if at <= now}
        if due:
            self._closings = [(at, partition) for at, partition in self._closings if at > now]
            await self._river.outlet.write(
                [Outgoing(topics.USERS, FILLER, None, partition) for partition in due]
            )


def remove_rows(warehouse: Warehouse, erasure: Erasure) -> int:
    """Remove the rows of an erased user; his words go out of the alerts that quote them.

    What he left in the ten seconds after it goes too.

    Raises:
        TransientError: ClickHouse is away or overloaded.
        WarehouseError: it refuses; is it migrated?
    """
    until = " AND received_at <= %(until)s"
    given: dict[str, Any] = {
        "tenant": erasure.tenant,
        "keys": list(erasure.user_keys),
        "until": erasure.erased_at + timedelta(milliseconds=DERIVED_GRACE_MS),
    }
    quoted = warehouse.query(
        f"SELECT id FROM scored_comments WHERE {_OF_USER}{until} AND label = 'negative'", given
    )
    _unquote(warehouse, erasure.tenant, [row["id"] for row in quoted])
    removed = 0
    for table in TABLES:
        where = _OF_USER if table == "list_writes" else _OF_USER + until
        found = warehouse.query(f"SELECT count() AS n FROM {table} WHERE {where}", given)
        if found[0]["n"]:
            warehouse.query(f"ALTER TABLE {table} DELETE WHERE {where}{_NOW}", given)
            removed += found[0]["n"]
    return removed


def _unquote(warehouse: Warehouse, tenant: str, comment_ids: Sequence[str]) -> None:
    """An alert keeps its figures and loses its examples where one of these is among them."""
    if not comment_ids:
        return
    where = "tenant = %(tenant)s AND hasAny(JSONExtract(examples, 'Array(Tuple(id String))').1" \
        ", %(ids)s)"  # fmt: skip
    given = {"tenant": tenant, "ids": list(comment_ids)}
    if warehouse.query(f"SELECT count() AS n FROM alerts WHERE {where}", given)[0]["n"]:
        change = "examples = '[]', terms = [], slices = '[]'"
        warehouse.query(f"ALTER TABLE alerts UPDATE {change} WHERE {where}{_NOW}", given)
