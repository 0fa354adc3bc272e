"""lag: the records of each partition that are appended and not yet worked off.

The end is asked of the broker, since what a fetch says of it is as old as the fetch, and a paused
partition fetches nothing. Tansu's end is that of the last batch but for its size: wrong there.
"""

from __future__ import annotations

import asyncio
from typing import Any

from streams.river import River

LOOK_SECONDS = 1.0


class Lag:
    """Keeps `springtide_lag_records` of the partitions that are ours.

    Args:
        app: the Faust app, whose consumer is looked at.
        assigned: set once it has partitions; before that it is not to be touched.
    """

    def __init__(self, river: River, app: Any, assigned: asyncio.Event) -> None:
        self._river, self._app, self._assigned = river, app, assigned
        self._shown: set[tuple[str, int]] = set()

    async def run(self) -> None:
        """Look every second; a broker that is away leaves the last figures."""
        from aiokafka.errors import ConsumerStoppedError, KafkaError
        from faust.exceptions import ConsumerNotStarted

        await self._assigned.wait()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except (KafkaError, ConsumerStoppedError, ConsumerNotStarted):
                continue

    async def _look(self) -> None:
        consumer = self._app.consumer
        if not consumer.settled:  # where we are is not known yet: the last figures stay
            return
        ours = consumer.assignment()
        ends = await consumer.highwaters(*ours) if ours else {}
        gauge, shown = self._river.metrics.lag, set()
        for tp, end in ends.items():
            place = tp.topic, tp.partition
            start = consumer._committed_offset.get(tp) or 0
            gauge.labels(*place).set(max(0, end - max(start, self._river.next_offset(*place))))
            shown.add(place)
        for gone in self._shown - shown:
            gauge.remove(*gone)
        self._shown = shown
