"""What was shown goes to served.v1, behind the answer and within bounds."""

from __future__ import annotations

import asyncio
from contextlib import suppress

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
        self._recorded = self._written = 0
        self._progress = asyncio.Event()

    def record(self, served: Served) -> bool:
        """Take a list that is being shown; False: too many wait, and it was dropped."""
        try:
            self._waiting.put_nowait(served)
        except asyncio.QueueFull:
            self._metrics.served.labels("dropped").inc()
            return False
        self._recorded += 1
        return True

    async def run(self) -> None:
        """Write for as long as the API lives."""
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < WRITE_AT_ONCE and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            await self._outlet.write([served_record(served) for served in batch])
            self._written += len(batch)
            self._progress.set()
            self._metrics.served.labels("recorded").inc(len(batch))

    async def flush(self) -> int:
        """Wait, within bounds, until what waits now is written; what comes meanwhile is not
        waited for.

        Returns:
            How many of them are not written yet.
        """
        wanted = self._recorded
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                while self._written < wanted:
                    self._progress.clear()
                    await self._progress.wait()
        return max(0, wanted - self._written)

    async def close(self) -> None:
        """The same at the end: what is not written then is lost, and counted."""
        if left := await self.flush():
            self._metrics.served.labels("dropped").inc(left)
            log.warning("served.lost", records=left)


def served_record(served: Served) -> Outgoing:
    """The record of served.v1."""
    return Outgoing(topics.SERVED, user_key(served.tenant, served.user_id), encode(served))
