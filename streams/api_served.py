"""What was shown goes to served.v1, behind the answer and within bounds."""

from __future__ import annotations

import asyncio

from infra.metrics import ApiMetrics
from infra.telemetry import get_logger
from streams import topics
from streams.events import Served, encode, user_key
from streams.outlet import Outgoing, Outlet

log = get_logger("api")

MAX_WAITING = 10_000
WRITE_AT_ONCE = 500
CLOSING_SECONDS = 3.0


class ServedRecorder:
    """A bounded queue before Kafka: a reader never waits for it, what does not fit is counted."""

    def __init__(self, outlet: Outlet, metrics: ApiMetrics, max_waiting: int = MAX_WAITING) -> None:
        self._outlet = outlet
        self._metrics = metrics
        self._waiting: asyncio.Queue[Served] = asyncio.Queue(max_waiting)

    def record(self, served: Served) -> bool:
        """Take a list that is being shown; False: too many wait, and it was dropped."""
        try:
            self._waiting.put_nowait(served)
        except asyncio.QueueFull:
            self._metrics.served.labels("dropped").inc()
            return False
        return True

    async def run(self) -> None:
        """Write for as long as the API lives."""
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < WRITE_AT_ONCE and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            try:
                await self._outlet.write([served_record(served) for served in batch])
            finally:
                for _ in batch:
                    self._waiting.task_done()
            self._metrics.served.labels("recorded").inc(len(batch))

    async def flush(self) -> None:
        """Wait, within bounds, until what waits is written."""
        try:
            await asyncio.wait_for(self._waiting.join(), CLOSING_SECONDS)
        except TimeoutError:
            left = self._waiting.qsize()
            self._metrics.served.labels("dropped").inc(left)
            log.warning("served.lost", records=left)


def served_record(served: Served) -> Outgoing:
    """The record of served.v1."""
    return Outgoing(topics.SERVED, user_key(served.tenant, served.user_id), encode(served))
