"""warm start: watch for item factors of `springtide train factors`, and take them over.

Without a stop: files are read in a thread, and a few items at a time are handed to the learner.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from infra.telemetry import get_logger
from online import warm_start
from online.checkpoint import CheckpointStore
from streams.river import River

log = get_logger("warm_start")

LOOK_SECONDS = 5.0
ITEMS_AT_ONCE = 1_000


class WarmStart:
    """Looks for a newer artifact below a URL; one that cannot be used is told and left alone.

    Args:
        taken: remembers the version with which embeddings began anew, so that a restart does not
            throw away what they have learned since.

    Attributes:
        version: of the newest artifact looked at, -1 for none.
    """

    def __init__(self, river: River, url: str, taken: Path | None = None) -> None:
        self._river = river
        self._files = CheckpointStore(url) if url else None
        self._taken = taken
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
            if manifest.forget and not self._is_new(found.epoch):
                return 0
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
            kept=len(factors.items) - started, forgotten=manifest.forget,
        )  # fmt: skip
        return started

    def _is_new(self, version: int) -> bool:
        """Whether this worker did not begin anew with it yet; from now on it did."""
        if self._taken is None:
            return True
        known = self._taken.read_text("utf-8") if self._taken.exists() else ""
        self._taken.write_text(str(version), "utf-8")
        return known != str(version)
