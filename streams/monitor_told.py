"""What alerts.v1 says has been told: read whole, without a group, when the monitor starts."""

from __future__ import annotations

import msgspec

from infra.telemetry import get_logger
from streams import topics, whole_topic
from streams.events import Alert

log = get_logger("monitor")


async def read_alerts(kafka_url: str) -> list[Alert]:
    """All alerts that the broker still has, in order; what cannot be read is passed over."""
    alerts: list[Alert] = []
    async for record in whole_topic.read(kafka_url, topics.ALERTS, "springtide-monitor"):
        try:
            alerts.append(msgspec.json.decode(record.value or b"", type=Alert))
        except msgspec.DecodeError:
            log.warning("alert.unreadable", offset=record.offset)
    return alerts
