"""Whether the group still counts us in, for sure: until then nobody else can own our partitions.

Kafka gives the partitions of a member that it has not heard from for the length of the session to
others. The member may not notice for longer than that: it was paused, or Kafka was; and aiokafka
sends no heartbeat while partitions are being assigned, and works on with those it was given until
it has joined again. So we keep a lease: from the moment a heartbeat was sent that Kafka answered
well, for the length of the session (Gray, Cheriton, "Leases", SOSP 1989). What two owners would
both do, and what only one may, is done within it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

ASK_SECONDS = 2.0
NO_GENERATION = -1  # aiokafka's, of one who is no member; a broker may count from 0


class Membership:
    """The lease of a worker.

    Args:
        app: the Faust app; its consumer is looked at once it has partitions.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._coordinator: Any = None
        self._until = 0.0

    def certain(self) -> bool:
        """Whether our partitions cannot have been given to anybody else yet."""
        known = self._coordinator is not None and self._coordinator.generation != NO_GENERATION
        return known and time.monotonic() < self._until

    async def confirm(self) -> bool:
        """Ask Kafka now; where it does not say yes the group is joined again."""
        from aiokafka.errors import KafkaError

        with suppress(TimeoutError, KafkaError):
            await asyncio.wait_for(self._beat(), ASK_SECONDS)
        if not self.certain():
            self._coordinator.request_rejoin()
        return self.certain()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Send heartbeats while partitions are being assigned, however long it takes."""
        self._watch()
        task = asyncio.create_task(self._beat_on())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _beat_on(self) -> None:
        while True:
            await self._beat()
            await asyncio.sleep(self._app.conf.broker_heartbeat_interval)

    async def _beat(self) -> None:
        self._watch()
        await self._coordinator.ensure_coordinator_known()
        await self._coordinator._do_heartbeat()

    def _watch(self) -> None:
        """Learn of the heartbeats that aiokafka sends as well."""
        coordinator = self._app.consumer._thread._consumer._coordinator
        if self._coordinator is coordinator:
            return
        self._coordinator, beat = coordinator, coordinator._do_heartbeat

        async def watched() -> bool:
            sent = time.monotonic()
            well: bool = await beat()
            if well:
                self._until = sent + self._app.conf.broker_session_timeout
            return well

        coordinator._do_heartbeat = watched
