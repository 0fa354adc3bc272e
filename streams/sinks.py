"""sinks: what must be outside before a checkpoint may say so, if it is ours to put there."""

from __future__ import annotations

import asyncio

from infra.telemetry import get_logger
from infra.warehouse import TransientError, UncertainError
from streams.recommend import Recommend
from streams.river import River

log = get_logger("checkpoint")

RETRY_SECONDS = 1.0
CERTAIN_SECONDS = 0.1


class NotOursError(Exception):
    """Kafka may have given the partitions to others: the checkpoint is theirs to take."""


class Sinks:
    """Lists to Redis, rows to ClickHouse.

    Attributes:
        leaving: partitions are being let go: it is not waited for that Kafka calls them ours.
        abandoned: a checkpoint was given up. What it had taken is in no file, so that none may
            follow it.
    """

    def __init__(self, river: River, recommend: Recommend) -> None:
        self._river, self._recommend = river, recommend
        self.leaving = self.abandoned = False

    async def flushed(self) -> None:
        """Return once all is outside; what is away is waited for.

        Raises:
            NotOursError: partitions are being let go, and may be others' already.
        """
        await self._recommend.flushed()
        await self._certain()
        while True:
            try:
                await asyncio.to_thread(self._river.archive.flush)
                return
            except UncertainError:
                await self._certain()
            except TransientError as error:
                log.warning("clickhouse.retry", error=str(error), wait_seconds=RETRY_SECONDS)
                await asyncio.sleep(RETRY_SECONDS)

    async def _certain(self) -> None:
        while not self._river.certain():
            if self.leaving:
                self.abandoned = True
                raise NotOursError("Kafka does not confirm that they are ours")
            await asyncio.sleep(CERTAIN_SECONDS)
