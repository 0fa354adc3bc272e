"""warm start: watch for item factors of `springtide train factors`, and take them over.

Without a stop: files are read in a thread, and a few items at a time are handed to the learner.
"""

from __future__ import annotations

import asyncio

from infra.telemetry import get_logger
from online import warm_start
from online.checkpoint import CheckpointStore
from streams.river import River

log = get_logger("warm_start")

LOOK_SECONDS = 5.0
ITEMS_AT_ONCE = 1_000


class WarmStart:
    """Looks for a newer artifact below a URL; one that cannot be used is told and left alone.

    Attributes:
        version: of the newest artifact looked at, -1 for none.
    """

    def __init__(self, river: River, url: str) -> None:
        self._river = river
        self._files = CheckpointStore(url) if url else None
        self.version = -1

    async def run(self) -> None:
        """Look every few seconds, where there is a URL."""
        while self._files is not None:
            try:
                await self.look(self._files)
            except OSError as error:  # storage is away, or the file was replaced as we read it
                log.warning("factors.unreadable", error=type(error).__name__)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self, files: CheckpointStore) -> int:
        """Take over what is newer than what we had; returns how many items it started."""
        if await asyncio.to_thread(files.newest, warm_start.NAME) <= self.version:
            return 0
        found = await asyncio.to_thread(files.read, warm_start.NAME)
        if found is None:
            return 0
        self.version, started = found.epoch, 0
        try:
            factors, manifest = await asyncio.to_thread(warm_start.read, found)
            if not self._river.admits(manifest.tenant):
                raise ValueError("too many tenants on this worker")
            for part in factors.parts(ITEMS_AT_ONCE):
                started += self._river.learner(manifest.tenant).warm_start(part)
                await asyncio.sleep(0)
        except ValueError as error:
            log.error(  # noqa: TRY400 (the reason says it all)
                "factors.refused", version=self.version, reason=str(error)
            )
            return started
        log.info(
            "factors.loaded", version=self.version, model=manifest.model, started=started,
            kept=len(factors.items) - started,
        )  # fmt: skip
        return started
