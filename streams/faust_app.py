"""The Faust app that drives a worker: its settings, and how one learns that it crashed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faust

from infra.security import kafka_client, kafka_servers
from infra.settings import Settings
from streams import batch_consumer, topics
from streams.score import AT_ONCE

BUFFERED_BATCHES = 8


async def crash_of(app: Any) -> None:
    """Wait for a crash anywhere in Faust, of which nothing would be seen but that all stands still.

    Raises:
        BaseException: its reason; nothing once the app is being stopped.
    """
    await app._crashed.wait()
    if not app._stopped.is_set():
        raise app.crash_reason


def faust_app(settings: Settings, generation: Callable[[], int]) -> Any:
    """A Faust app that consumes in batches, with nothing to do yet; it connects when it starts.

    Args:
        generation: counts how often partitions were handed out anew.
    """
    kafka_url = settings.kafka_url.get_secret_value()
    broker = ";".join(f"aiokafka://{server}" for server in kafka_servers(kafka_url))
    datadir = settings.data_dir.absolute() / "faust"
    datadir.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        "springtide",
        broker=broker,
        broker_credentials=_credentials(kafka_client(kafka_url)),
        datadir=str(datadir),
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        stream_buffer_maxsize=BUFFERED_BATCHES,
        broker_session_timeout=6.0,
        broker_heartbeat_interval=1.0,
        broker_request_timeout=30.0,
        broker_commit_interval=0.5,
        broker_max_poll_records=batch_consumer.MAX_POLL_RECORDS,
        consumer_max_fetch_size=batch_consumer.MAX_FETCH_BYTES,
    )
    # Small batches of comments: scoring takes long, and no partition may fall far behind another.
    batch_consumer.install(
        app,
        most_at_once={topics.COMMENTS: AT_ONCE},
        ours=staticmethod(generation),
        fetch_wait_ms=settings.kafka_fetch_wait_ms,
    )
    return app


def _credentials(client: dict[str, Any]) -> Any:
    """The same connection in Faust's words; None: neither TLS nor a name."""
    from faust.auth import SASLCredentials, SSLCredentials

    if "sasl_mechanism" in client:
        return SASLCredentials(
            username=client["sasl_plain_username"],
            password=client["sasl_plain_password"],
            mechanism=client["sasl_mechanism"],
            ssl_context=client.get("ssl_context"),
        )
    return SSLCredentials(client["ssl_context"]) if "ssl_context" in client else None
