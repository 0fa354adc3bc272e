"""popular: the fallback lists of every tenant, refreshed where they changed.

The list of all items about once a second; those of a topic, a language or a surface now and then.
Every worker knows them all; the owner of user partition 0 writes.
"""

from __future__ import annotations

import asyncio
import time

from infra.telemetry import get_logger
from infra.warehouse import Warehouse
from online.topk import TopK, no_items
from streams.catalog import Catalog
from streams.partition import PartitionState
from streams.popular_parts import among_items, on_surfaces, without_hidden
from streams.recommend import stored_list
from streams.river import River

log = get_logger("popular")

REFRESH_SECONDS = 1.0
PARTS_SECONDS = 10.0
SURFACES_SECONDS = 300.0


class Popular:
    """Writes `popular:<tenant>` and its parts; of two owners the newer one wins, by his epoch."""

    def __init__(self, river: River, catalog: Catalog, warehouse: Warehouse) -> None:
        self._river, self._catalog, self._warehouse = river, catalog, warehouse
        self._written: dict[str, tuple[str, ...]] = {}
        self._sequence = 0
        self._epoch = 0
        self._owned: PartitionState | None = None  # for which the epoch was taken
        self._parts_at = self._surfaces_at = 0.0
        self._on_surfaces: dict[str, dict[str, TopK]] = {}
        self._parts: dict[str, set[str]] = {}

    async def run(self) -> None:
        """Refresh for as long as the worker lives; Redis away only delays it."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh()
            except self._river.store.transient_errors as error:
                log.warning("redis.away", error=type(error).__name__)

    async def refresh(self) -> None:
        """Write what has changed, where it is ours to write."""
        owned = self._river.partitions.get(0)
        if owned is None:
            return
        if owned is not self._owned:
            self._epoch = await self._river.store.next_epoch("popular", 0, owned.epoch)
            self._owned = owned
            self._written.clear()  # another one may have written since
        now, size = time.monotonic(), self._river.settings.list_size
        parts, surfaces = now >= self._parts_at, now >= self._surfaces_at
        for tenant, learner in list(self._river.learners.items()):
            await self._write(tenant, learner.popular(size))
            lists: dict[str, TopK] = {}
            if parts:
                lists = among_items(learner, self._catalog, tenant, size)
                before, self._parts[tenant] = self._parts.get(tenant, set()), set(lists)
                # No key of these expires: what nothing is left of is emptied.
                lists |= dict.fromkeys(before - self._parts[tenant], no_items("popular"))
            if surfaces and self._river.components.archive:
                self._on_surfaces[tenant] = await on_surfaces(self._warehouse, tenant, 2 * size)
            for part, top in self._on_surfaces.get(tenant, {}).items():
                lists[part] = without_hidden(top, self._catalog, tenant, size)
            for part, top in lists.items():
                await self._write(f"{tenant}:{part}", top)
        if parts:
            self._parts_at = now + PARTS_SECONDS
        if surfaces:
            self._surfaces_at = now + SURFACES_SECONDS

    async def _write(self, name: str, top: TopK) -> None:
        """`name`: a tenant, and perhaps a part behind a colon, which no tenant's name has."""
        if self._written.get(name) == tuple(top.items):
            return
        self._sequence += 1
        stored = stored_list(top, (self._epoch, self._sequence), time.time())
        if await self._river.store.write_popular(name, stored):
            self._written[name] = tuple(top.items)
