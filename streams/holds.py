"""Items in a severe incident, out of the lists until it ends: SPRINGTIDE_HOLD_ITEMS.

Whoever lists items follows alerts.v1 for it, whole and without a group, so that a restart finds
what is held. An incident lasts a week at most; what nobody resolved by then is let go.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from infra.telemetry import get_logger
from streams import topics, whole_topic
from streams.events import Alert

log = get_logger("holds")

LONGEST_MS = 8 * 86_400_000
RETRY_SECONDS = 2.0

Item = tuple[str, str]  # tenant, item
Tell = Callable[[str, str, bool], None]


class Holds:
    """Follows alerts.v1.

    Args:
        tell: told tenant, item and whether it is held, whenever that changes.
    """

    def __init__(self, kafka_url: str, tell: Tell) -> None:
        self._kafka_url = kafka_url
        self._tell = tell
        self._held: dict[Item, tuple[str, int]] = {}  # → fingerprint, append time of the alert

    async def run(self) -> None:
        """Follow for as long as the process lives; Kafka away only delays it."""
        from aiokafka.errors import KafkaError

        while True:
            try:
                async for fetched in whole_topic.follow(
                    self._kafka_url, topics.ALERTS, "springtide-holds"
                ):
                    self.take(fetched.records, time.time() * 1_000)
            except (KafkaError, OSError) as error:
                log.warning("holds.away", error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    def take(self, records: Iterable[Any], now_ms: float) -> None:
        """Records of alerts.v1, in order; what they come to together is told."""
        before = set(self._held)
        for record in records:
            try:
                self._put(msgspec.json.decode(record.value or b"", type=Alert), record.timestamp)
            except msgspec.DecodeError:  # the monitor reports it
                continue
        for item in [i for i, (_, at) in self._held.items() if at < now_ms - LONGEST_MS]:
            del self._held[item]
        for item in before ^ set(self._held):
            held = item in self._held
            log.warning("item.held" if held else "item.released", item=item[1])
            self._tell(*item, held)

    def _put(self, alert: Alert, at: int) -> None:
        kind, _, name = alert.key.partition(":")
        if kind != "item":
            return
        item = (alert.tenant, name)
        if alert.state == "resolved":
            if item in self._held and self._held[item][0] == alert.fingerprint:
                del self._held[item]
        elif alert.severity == "severe" and not alert.historic:
            self._held[item] = (alert.fingerprint, at)
