"""epochs: the numbers by which owners of a partition follow each other; the greater one wins.

Redis counts them, and may lose its count: emptied, or failed over before the replica had it. The
checkpoints that owners left behind tell what it must not fall behind of: what is written under a
lower epoch than an older checkpoint's is never read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

import stamina

from infra.serving import AsyncRedisTopKStore
from online.checkpoint import CheckpointStore
from streams.partition import partition_name
from streams.topics import CLICKS, SENTIMENT

MONITOR = "monitor"  # its checkpoint
WAIT_SECONDS = 1.0


class Epochs(NamedTuple):
    """Of user partitions, and of the monitor's where that is to be taken over."""

    partitions: dict[int, int]
    monitor: int | None


async def new_epochs(
    store: AsyncRedisTopKStore, files: CheckpointStore, partitions: Iterable[int], monitor: bool
) -> Epochs:
    """A new owner's, for each of these; Redis away is waited for."""
    found = {
        number: await _next(store, files, CLICKS, number, partition_name(number))
        for number in sorted(partitions)
    }
    return Epochs(found, await _next(store, files, SENTIMENT, 0, MONITOR) if monitor else None)


async def _next(
    store: AsyncRedisTopKStore, files: CheckpointStore, topic: str, partition: int, name: str
) -> int:
    above = max(0, await asyncio.to_thread(files.newest, name))
    async for attempt in stamina.retry_context(
        on=store.transient_errors, attempts=None, timeout=None, wait_max=WAIT_SECONDS
    ):
        with attempt:
            epoch = await store.next_epoch(topic, partition, above)
    return epoch
