"""archive: everything into ClickHouse, in batches by size or age.

Learn, score and recommend append their own rows, because they know what an event came to; this
agent takes the topics that nobody else reads, served.v1 and alerts.v1, and empties the buffer.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from infra.telemetry import get_logger
from infra.warehouse import TransientError, Warehouse
from streams import topics
from streams.batch_consumer import Batch
from streams.events import Alert, Served
from streams.explore import Exploration
from streams.intake import Rejected
from streams.quotes import with_words
from streams.river import River

log = get_logger("archive")

FLUSH_ROWS = 10_000
FLUSH_SECONDS = 2.0  # an insert costs ClickHouse some 20 ms of CPU, whatever it holds
LOOK_SECONDS = 0.2


class Archive:
    """The archive agent."""

    def __init__(
        self, river: River, warehouse: Warehouse, exploration: Exploration | None = None
    ) -> None:
        self._river, self._warehouse = river, warehouse
        self._exploration = exploration or Exploration(river)

    async def handle(self, batch: Batch) -> None:
        """Append a batch of served.v1 or alerts.v1."""
        rejected = []
        first = self._river.next_offset(batch.topic, batch.partition)
        for index, offset in enumerate(batch.offsets):
            if offset < first:
                continue  # it was fetched twice: while partitions are assigned Faust may do so
            message = self._river.intake.read(batch.topic, batch.values[index])
            if isinstance(message, Rejected):
                rejected.append((index, message.reason))
                continue
            received = batch.timestamps_ms[index]
            if isinstance(message, Served):
                at = message.served_at.timestamp()
                if self._river.erasures.erased(
                    message.tenant, message.user_id, received, derived=True, source_ms=int(at * 1e3)
                ):
                    continue
                self._exploration.viewed(message.tenant, message.items, at)
                row = self._served(message, received)
            else:
                row = alert_row(await with_words(self._warehouse, message), received)
                if batch.generation != self._river.generation:
                    return  # its rows are dropped, and it is fetched again
            row |= {"topic": batch.topic, "partition": batch.partition, "offset": offset}
            table = "served" if batch.topic == topics.SERVED else "alerts"
            self._river.archive.append(table, batch.topic, batch.partition, row)
        await self._river.dead_letter(batch, rejected)

    async def run(self) -> None:
        """Flush by size or age; ClickHouse away only means that rows wait (bounded)."""
        waited = 0.0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            waited += LOOK_SECONDS
            pending = self._river.archive.pending_rows
            self._river.metrics.queue.labels("archive_rows").set(pending)
            if not pending or (pending < FLUSH_ROWS and waited < FLUSH_SECONDS):
                continue
            waited = 0.0
            try:
                await asyncio.to_thread(self._river.archive.flush)
                await self._river.room_made()
            except TransientError as error:
                log.warning("clickhouse.away", rows=pending, error=str(error))
                await asyncio.sleep(1.0)

    def _served(self, served: Served, received_ms: int) -> dict[str, Any]:
        return {
            "tenant": served.tenant,
            "user_key": self._river.pseudonyms.user_key(served.tenant, served.user_id),
            "list_version": served.list_version,
            "policy": served.policy,
            "surface": served.surface,
            "items": list(served.items),
            "positions": list(served.positions or range(len(served.items))),
            "seed": served.seed,
            "explored": list(served.explored),
            "propensities": list(served.propensities),
            "served_at": served.served_at,
            "received_at": received_ms,
        }


def alert_row(alert: Alert, received_ms: int) -> dict[str, Any]:
    """An alert as a row of the warehouse; lists of structs as JSON."""
    row = msgspec.structs.asdict(alert)
    row["examples"] = msgspec.json.encode(alert.examples).decode()
    row["slices"] = msgspec.json.encode(alert.slices).decode()
    row["historic"] = int(alert.historic)
    row["received_at"] = received_ms
    return row
