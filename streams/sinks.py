"""sinks: what must be outside before a checkpoint may say so, if it is ours to put there."""

from __future__ import annotations

import asyncio
import math
import time
from typing import NoReturn

from infra.telemetry import get_logger
from infra.warehouse import TransientError, UncertainError
from streams.recommend import Recommend
from streams.river import River

log = get_logger("checkpoint")

RETRY_SECONDS = 1.0
CERTAIN_SECONDS = 0.1
LEAVE_SECONDS = 3.0  # the whole group waits for who leaves


class NotOursError(Exception):
    """Others have the partitions, or will at once: the checkpoint is theirs to take."""


class Sinks:
    """Lists to Redis, rows to ClickHouse.

    Attributes:
        abandoned: a checkpoint was given up. What it had taken is in no file, so that none may
            follow it.
    """

    def __init__(self, river: River, recommend: Recommend) -> None:
        self._river, self._recommend = river, recommend
        self._leaving_since, self.abandoned = math.inf, False

    def leave(self) -> None:
        """Partitions are being let go.

        Where Kafka does not call them ours, or ClickHouse does not answer, a checkpoint is given
        up, and what it held comes to their next owners again.
        """
        self._leaving_since = min(self._leaving_since, time.monotonic())

    def stay(self) -> None:
        """They were let go: a checkpoint may wait again, and follow one that was given up."""
        self._leaving_since, self.abandoned = math.inf, False

    async def flushed(self) -> None:
        """Return once all is outside; what is away is waited for.

        Raises:
            NotOursError: partitions are being let go, and may be others' already.
        """
        await self._listed()
        await self._certain()
        while True:
            try:
                await self._archived()
                return
            except UncertainError:
                await asyncio.sleep(CERTAIN_SECONDS)
                await self._certain()
                self._not_in_vain()
            except TransientError as error:
                self._not_in_vain()
                log.warning("clickhouse.retry", error=str(error), wait_seconds=RETRY_SECONDS)
                await asyncio.sleep(RETRY_SECONDS)

    async def _listed(self) -> None:
        listed = asyncio.create_task(self._recommend.flushed())
        try:
            while not listed.done():
                if self._leaving_since < math.inf:
                    await self._certain()
                await asyncio.wait({listed}, timeout=CERTAIN_SECONDS)
            listed.result()
        finally:
            listed.cancel()

    async def _archived(self) -> None:
        flush = asyncio.create_task(asyncio.to_thread(self._river.archive.flush))
        flush.add_done_callback(lambda done: done.cancelled() or done.exception())
        while not flush.done():
            self._not_in_vain()
            await asyncio.wait({flush}, timeout=CERTAIN_SECONDS)
        flush.result()

    async def _certain(self) -> None:
        while not self._river.certain():
            if self._leaving_since < math.inf:
                self._give_up("Kafka does not confirm that they are ours")
            await asyncio.sleep(CERTAIN_SECONDS)

    def _not_in_vain(self) -> None:
        """Who leaves does not wait for a ClickHouse that is silent, but for rows that it may have.

        The next owner looks which are there, and would not find what arrives later. Once the
        partitions are his, nothing is gained by waiting.
        """
        archive = self._river.archive
        since = max(self._leaving_since, archive.answered_at)
        worth_it = archive.in_doubt and self._river.certain()
        if time.monotonic() - since > LEAVE_SECONDS and not worth_it:
            self._give_up("ClickHouse does not answer")

    def _give_up(self, reason: str) -> NoReturn:
        self.abandoned = True
        raise NotOursError(reason)
