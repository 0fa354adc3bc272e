"""What alerts.v1 says has been told: read whole, without a group, when the monitor starts."""

from __future__ import annotations

import time

import msgspec

from infra.telemetry import get_logger
from streams import topics
from streams.events import Alert

log = get_logger("monitor")

QUIET_SECONDS = 0.3


async def read_alerts(kafka_url: str) -> list[Alert]:
    """All alerts that the broker still has, in order; what cannot be read is passed over."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(
        bootstrap_servers=topics.bootstrap_servers(kafka_url),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        client_id="springtide-monitor",
    )
    await consumer.start()
    alerts: list[Alert] = []
    try:
        here = TopicPartition(topics.ALERTS, 0)
        consumer.assign([here])
        await consumer.seek_to_beginning(here)
        end = (await consumer.end_offsets([here]))[here]
        heard = time.monotonic()
        # A broker may state too low an end (Tansu does): a quiet moment must follow it.
        while await consumer.position(here) < end or time.monotonic() - heard < QUIET_SECONDS:
            for record in (await consumer.getmany(here, timeout_ms=50)).get(here, ()):
                heard = time.monotonic()
                try:
                    alerts.append(msgspec.json.decode(record.value or b"", type=Alert))
                except msgspec.DecodeError:
                    log.warning("alert.unreadable", offset=record.offset)
    finally:
        await consumer.stop()
    return alerts
