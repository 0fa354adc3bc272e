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
from datetime import timedelta
from typing import Any, NamedTuple

from infra.telemetry import get_logger
from infra.warehouse import TransientError, Warehouse, WarehouseError
from streams import topics
from streams.erasure import DERIVED_GRACE_MS
from streams.events import Erasure
from streams.outlet import Outgoing
from streams.river import River

log = get_logger("erasure")

TABLES = ("interactions", "scored_comments", "served", "list_writes")
FIRST_SECONDS = 0.5
# Again after a while: a row that was on its way at the first time is there at the second.
SECOND_SECONDS = 20.0
RETRY_SECONDS = 2.0
STEP_SECONDS = 0.25
RECENT_SECONDS = 86_400.0  # since it was noted: what a restart or a former owner broke off
# In which a new owner reads on: somebody may have come back while there was none.
RESTORED_SECONDS = 30.0
CLOSING_SECONDS = topics.PROFILE_SEGMENT_SECONDS + 1.0
CLOSINGS = 4
IDS_AT_ONCE = 500  # a statement has at most 256 KB, an id 128 bytes
FILLER = b"~"  # no tenant's: theirs hold a slash

_OF_USER = "tenant = %(tenant)s AND user_key IN %(keys)s"
_NOW = " SETTINGS mutations_sync = 1"


class _Due(NamedTuple):
    """`quoted`: his comments, as the first pass found them; None before it."""

    at: float
    erasure: Erasure
    until: float
    quoted: tuple[str, ...] | None = None


class ErasedRows:
    """Removes what is left, in the background; what cannot be removed now is tried again.

    Args:
        holds: (partition, topic, offset) → whether a checkpoint on disk holds its effect.
    """

    def __init__(
        self, river: River, warehouse: Warehouse, holds: Callable[[int, str, int], bool]
    ) -> None:
        self._river = river
        self._warehouse = warehouse
        self._holds = holds
        self._due: list[_Due] = []
        self._closings: list[tuple[float, int]] = []
        river.erasures.on_erased = self._erased

    def _erased(self, erasure: Erasure, noted_ms: int) -> None:
        # By when it was noted: a worker that was away reads a request long after it was made.
        now, left = time.monotonic(), noted_ms / 1000 + RECENT_SECONDS - time.time()
        if left > 0:
            self._due.append(_Due(now + FIRST_SECONDS, erasure, now + left))

    async def run(self) -> None:
        """Work for as long as the worker lives."""
        while True:
            await asyncio.sleep(STEP_SECONDS)
            await self._remove_rows()
            await self._null_requests()
            await self._close_segments()

    async def _remove_rows(self) -> None:
        now = time.monotonic()
        due = [one for one in self._due if one.at <= now]
        if not due:
            return
        self._due = [one for one in self._due if one.at > now]
        for one in due:
            # Whoever owns the user's partition has his rows. It may come to us while its owner
            # waits for ClickHouse: nobody else would then be left who knows.
            if one.erasure.partition not in self._river.partitions:
                if now < one.until:
                    self._again(one)
                continue
            try:
                await asyncio.to_thread(self._river.archive.flush)
                removed, quoted = await asyncio.to_thread(
                    remove_rows, self._warehouse, one.erasure, one.quoted or ()
                )
            except (TransientError, WarehouseError) as error:
                # Refused, for want of a grant it may be: learning need not stand still for that.
                log.warning("erasure.waits", error=str(error)[:300])
                self._again(one)
                continue
            log.info("erasure.rows_removed", rows=removed)
            if one.quoted is None:
                second = time.monotonic() + SECOND_SECONDS
                self._due.append(one._replace(at=second, quoted=quoted))

    def _again(self, one: _Due) -> None:
        self._due.append(one._replace(at=time.monotonic() + RETRY_SECONDS))

    async def _null_requests(self) -> None:
        done = [
            (state, key, offset)
            for state in self._river.partitions.values()
            for key, offset in state.buried.items()
            if self._holds(state.partition, topics.USERS, offset)
            and (key not in state.restored or time.time() > state.taken_at + RESTORED_SECONDS)
        ]
        if not done:
            return
        await self._river.outlet.write(
            [Outgoing(topics.USERS, key.encode(), None, state.partition) for state, key, _ in done]
        )
        for state, key, offset in done:
            if state.buried.get(key) == offset:  # he may have come and gone again meanwhile
                del state.buried[key]
                state.erased_since = True  # checkpoints name him until then
        now = time.monotonic()
        for partition in {state.partition for state, _, _ in done}:
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


def remove_rows(
    warehouse: Warehouse, erasure: Erasure, quoted: Sequence[str] = ()
) -> tuple[int, tuple[str, ...]]:
    """Remove the rows of an erased user; his words go out of the alerts that quote them.

    What he left in the ten seconds after it goes too.

    Args:
        quoted: comments of his of which no row is left: an alert may have come since.

    Returns:
        The number of rows, and his comments, these included.

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
    # All of them: where a spike has few comments, an alert quotes others than negative ones.
    found = warehouse.query(f"SELECT id FROM scored_comments WHERE {_OF_USER}{until}", given)
    ids = (*quoted, *(row["id"] for row in found))
    _unquote(warehouse, erasure.tenant, ids)
    removed = 0
    for table in TABLES:
        where = _OF_USER if table == "list_writes" else _OF_USER + until
        rows = warehouse.query(f"SELECT count() AS n FROM {table} WHERE {where}", given)[0]["n"]
        if rows:
            warehouse.query(f"ALTER TABLE {table} DELETE WHERE {where}{_NOW}", given)
            removed += rows
    return removed, ids


def _unquote(warehouse: Warehouse, tenant: str, comment_ids: Sequence[str]) -> None:
    """An alert keeps its figures and loses its examples where one of these is among them."""
    for first in range(0, len(comment_ids), IDS_AT_ONCE):
        _unquote_some(warehouse, tenant, comment_ids[first : first + IDS_AT_ONCE])


def _unquote_some(warehouse: Warehouse, tenant: str, comment_ids: Sequence[str]) -> None:
    where = "tenant = %(tenant)s AND hasAny(JSONExtract(examples, 'Array(Tuple(id String))').1" \
        ", %(ids)s)"  # fmt: skip
    given = {"tenant": tenant, "ids": list(comment_ids)}
    if warehouse.query(f"SELECT count() AS n FROM alerts WHERE {where}", given)[0]["n"]:
        change = "examples = '[]', terms = [], slices = '[]'"
        warehouse.query(f"ALTER TABLE alerts UPDATE {change} WHERE {where}{_NOW}", given)
