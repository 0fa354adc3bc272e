"""popular: the fallback list of every tenant, refreshed about once a second where it changed."""

from __future__ import annotations

import asyncio
import time

from infra.telemetry import get_logger
from streams.recommend import stored_list
from streams.river import River

log = get_logger("popular")

REFRESH_SECONDS = 1.0


class Popular:
    """Writes `popular:<tenant>`; the epoch makes the newest worker win."""

    def __init__(self, river: River) -> None:
        self._river = river
        self._written: dict[str, tuple[str, ...]] = {}
        self._sequence = 0

    async def run(self) -> None:
        """Refresh for as long as the worker lives; Redis away only delays it."""
        epoch = 0
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                epoch = epoch or await self._river.store.next_epoch("popular", 0)
                for tenant in list(self._river.learners):
                    await self._refresh(tenant, epoch)
            except self._river.store.transient_errors as error:
                log.warning("redis.away", error=type(error).__name__)

    async def _refresh(self, tenant: str, epoch: int) -> None:
        top = self._river.learners[tenant].popular(self._river.settings.list_size)
        if self._written.get(tenant) == tuple(top.items):
            return
        self._sequence += 1
        stored = stored_list(top, (epoch, self._sequence), time.time())
        await self._river.store.write_popular(tenant, stored)
        self._written[tenant] = tuple(top.items)
