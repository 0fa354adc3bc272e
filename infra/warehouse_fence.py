"""The fence: what a former owner has under way to ClickHouse ends before the next one looks.

An owner is certain of his partitions when he begins an insert, by his lease; but his process may be
stopped in the middle of it, and go on when they have long been another's. The rows would come after
the other had looked which are there, and would be there twice. So

1. an insert's query id names the streams that it holds;
2. the next owner kills the inserts of his streams, and then looks;
3. between the server's answer to the query and the rows, an owner makes sure once more.

Of what the server knew at (2) nothing comes any more. What it heard of later it answered later, so
that (3) comes after the end of the lease. On a cluster all owners must speak to the same server.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from typing import Any

from infra.telemetry import get_logger
from infra.warehouse_blocks import Stream
from infra.warehouse_client import Warehouse, WarehouseError

log = get_logger("archive")

# What has rows may be at its very end, and is waited for; what has none waits for its client.
COMMIT_SECONDS, CLIENT_SECONDS = 30.0, 1.0
POLL_SECONDS = 0.05


def insert_id(database: str, streams: Iterable[Stream]) -> str:
    """A query id for an insert of these streams."""
    return f"{_ours(database)}{secrets.token_hex(8)}{''.join(map(_name, sorted(streams)))}"


def fence(warehouse: Warehouse, streams: Iterable[Stream]) -> None:
    """End what is under way of these streams, whoever sends it.

    Raises:
        TransientError: ClickHouse is away or overloaded.
    """
    given = {"ours": _ours(warehouse.database), "names": [_name(each) for each in streams]}
    where = (
        "startsWith(query_id, %(ours)s)"
        " AND arrayExists(name -> position(query_id, name) > 0, %(names)s)"
    )
    try:
        warehouse.query(f"KILL QUERY WHERE {where} ASYNC", given)
        left = _wait(warehouse, where, given)
    except WarehouseError as error:  # such as: this user may not
        log.warning("clickhouse.unfenced", error=str(error))
    else:
        if left:
            log.warning("clickhouse.unfenced", error=f"{left} inserts are killed and not gone")


def _wait(warehouse: Warehouse, where: str, given: dict[str, Any]) -> int:
    began = time.monotonic()
    counts = "SELECT count() AS n, countIf(written_rows > 0) AS ending FROM system.processes"
    while True:
        (found,) = warehouse.query(f"{counts} WHERE {where}", given)
        most = COMMIT_SECONDS if found["ending"] else CLIENT_SECONDS
        if not found["n"] or time.monotonic() - began > most:
            return int(found["n"])
        time.sleep(POLL_SECONDS)


def _ours(database: str) -> str:
    return f"springtide {database} "


def _name(stream: Stream) -> str:
    return f"|{stream.table} {stream.topic} {stream.partition}|"
