"""Event time put back in order: comments of several source partitions to one clock.

Comments reach the monitor in batches of one source partition at a time, so that in a fast replay
one partition may be days ahead of another; only Kafka's order within a partition is certain. The
detectors' steps are event time: what is ahead waits for the partitions that are behind.

A live stream does not wait: its deciding comment must alert at once. A partition that has been
silent for long holds nobody up, and once all are silent everything is let go.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from online.spikes import Observation

LIVE_SECONDS = 120.0  # event time this close to the wall clock is live
# Scoring a batch of another partition may take this long; a live stream does not wait for it.
IDLE_SECONDS = 60.0
QUIET_SECONDS = 10.0  # nothing from any partition: the stream has ended, or pauses
MOST_WAITING = 50_000


class Waiting(NamedTuple):
    """A comment on its way to the detectors; sorts by event time, then by where it came from."""

    at: float
    source: int
    offset: int
    tenant: str
    observation: Observation


class Reordering:
    """Comments in, comments in order of event time out; bounded.

    Equal records in equal order per source partition come out in one order, whatever order the
    partitions arrive in, as long as none of them is late by the rules above.

    Args:
        partitions: source partitions to wait for when a stream begins, heard of or not.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._heap: list[Waiting] = []
        self._newest: dict[int, float] = {}
        self._heard: dict[int, float] = {}

    def __len__(self) -> int:
        """Comments that wait."""
        return len(self._heap)

    def take(self, arrived: list[Waiting], now: float, awake: float) -> list[Waiting]:
        """Take records as they arrived; those that may pass, in order.

        Args:
            now: wall clock, epoch seconds.
            awake: a monotonic clock, seconds.
        """
        if arrived and self._is_quiet(awake):
            for source in {*range(self._partitions), *self._newest}:
                self._newest.setdefault(source, -np.inf)
                self._heard[source] = awake
        live = []
        for each in arrived:
            self._newest[each.source] = max(each.at, self._newest.get(each.source, each.at))
            self._heard[each.source] = awake
            if each.at >= now - LIVE_SECONDS:
                live.append(each)
            else:
                heapq.heappush(self._heap, each)
        return self.release(awake) + live

    def release(self, awake: float) -> list[Waiting]:
        """Those that need not wait any longer, in order."""
        before = self._watermark(awake)
        ready = []
        while self._heap and (self._heap[0].at < before or len(self._heap) > MOST_WAITING):
            ready.append(heapq.heappop(self._heap))
        return ready

    def _watermark(self, awake: float) -> float:
        """No partition that still talks is behind this event time."""
        if self._is_quiet(awake):
            return float("inf")
        talking = [p for p, heard in self._heard.items() if awake - heard < IDLE_SECONDS]
        return min(self._newest[partition] for partition in talking)

    def _is_quiet(self, awake: float) -> bool:
        return awake - max(self._heard.values(), default=-np.inf) >= QUIET_SECONDS

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What waits and how far each partition is, as bytes for a checkpoint."""
        content = msgspec.msgpack.encode((self._heap, self._newest))
        return {"waiting": np.frombuffer(content, np.uint8)}

    def load(self, arrays: dict[str, npt.NDArray[Any]], awake: float) -> None:
        """Go on from what `state` gave; every partition is given time to be heard again."""
        heap, newest = msgspec.msgpack.decode(
            arrays["waiting"].tobytes(), type=tuple[list[Waiting], dict[int, float]]
        )
        self._heap, self._newest = heap, newest
        self._heard = dict.fromkeys(newest, awake)
