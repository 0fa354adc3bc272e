"""The demo's readers: users open pages, which the API fills and records as shown."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import httpx

from infra.telemetry import get_logger
from streams.pace import end_task
from streams.simulate import Look

log = get_logger("demo")

MOST_WAITING = 20
SHOWN = 10
# A simulated platform is hours a second fast: of the pages that would be opened some are.
A_SECOND = 40.0


class Readers:
    """Opens pages at the API, a few a second; what comes faster is left out.

    Args:
        url: of the API.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: asyncio.Queue[Look] = asyncio.Queue(MOST_WAITING)
        self._reading: asyncio.Task[None] | None = None

    def open(self, look: Look) -> None:
        """A page is opened; returns at once."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        if not self._waiting.full():
            self._waiting.put_nowait(look)

    async def close(self) -> None:
        """Open no more."""
        if self._reading is not None:
            await end_task(self._reading)

    async def _read(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=5.0) as client:
            while True:
                look = await self._waiting.get()
                path = f"/v1/users/{quote(look.user, safe='')}/recommendations"
                try:
                    await client.get(path, params={"n": SHOWN, "surface": look.surface})
                except httpx.HTTPError as error:
                    log.warning("demo.page_failed", error=type(error).__name__)
                await asyncio.sleep(1 / A_SECOND)
