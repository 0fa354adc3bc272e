"""popular: the fallback lists of every tenant, refreshed where they changed.

The list of all items about once a second; those of a topic, a language or a surface now and then.
Every worker knows them all; the owner of user partition 0 writes. A part is kept, less what may not
be shown, until nothing is left of it; it expires in Redis, since a next owner does not know of it.
"""

from __future__ import annotations

import asyncio
import math
import time

from infra.telemetry import get_logger
from infra.warehouse import Warehouse
from online.topk import TopK
from streams.catalog import Catalog
from streams.partition import PartitionState
from streams.popular_parts import (
    MOST_PARTS,
    SURFACE,
    among_items,
    on_surfaces,
    without_hidden,
)
from streams.recommend import stored_list
from streams.river import River

log = get_logger("popular")

REFRESH_SECONDS = 1.0
PARTS_SECONDS = 10.0
SURFACES_SECONDS = 300.0
PART_EXPIRES_SECONDS = 900.0  # renewed three times as often
MOST_KEPT = 2 * MOST_PARTS  # a tenant


class Popular:
    """Writes `popular:<tenant>` and its parts; of two owners the newer one wins, by his epoch."""

    def __init__(self, river: River, catalog: Catalog, warehouse: Warehouse) -> None:
        self._river, self._catalog, self._warehouse = river, catalog, warehouse
        self._written: dict[str, tuple[tuple[str, ...], float]] = {}  # items, and until when
        self._sequence = 0
        self._epoch = 0
        self._owned: PartitionState | None = None  # for which the epoch was taken
        self._parts_at = self._surfaces_at = 0.0
        self._kept: dict[str, dict[str, TopK]] = {}  # tenant → part → as it was found last

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
            kept = self._kept.setdefault(tenant, {})
            if parts:
                keep(kept, among_items(learner, self._catalog, tenant, size))
            if surfaces and self._river.components.archive:
                keep(kept, await on_surfaces(self._warehouse, tenant, 2 * size))
            for part, top in list(kept.items()):
                if parts or part.startswith(SURFACE):
                    await self._write_part(tenant, part, top, size)
        if parts:
            self._parts_at = now + PARTS_SECONDS
        if surfaces:
            self._surfaces_at = now + SURFACES_SECONDS

    async def _write_part(self, tenant: str, part: str, top: TopK, size: int) -> None:
        name = f"{tenant}:{part}"  # no tenant's name has a colon
        shown = without_hidden(part, top, self._catalog, tenant, size)
        if await self._write(name, shown, PART_EXPIRES_SECONDS) and not shown.items:
            del self._kept[tenant][part], self._written[name]

    async def _write(self, name: str, top: TopK, ttl_seconds: float | None = None) -> bool:
        """Whether it stands there."""
        items, now = tuple(top.items), time.monotonic()
        before, until = self._written.get(name, (None, 0.0))
        if before == items and now < until:
            return True
        self._sequence += 1
        stored = stored_list(top, (self._epoch, self._sequence), time.time())
        if not await self._river.store.write_popular(name, stored, ttl_seconds):
            return False
        self._written[name] = items, now + ttl_seconds / 3 if ttl_seconds else math.inf
        return True


def keep(kept: dict[str, TopK], found: dict[str, TopK]) -> None:
    """Put what was found in the place of what is kept; of too many parts the oldest are let go."""
    for part in found:
        kept.pop(part, None)
    kept |= found
    for part in list(kept)[:-MOST_KEPT]:
        del kept[part]
