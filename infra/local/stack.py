"""`LocalStack`: every embedded part, started together, stopped together, over one directory."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from infra.local.broker import BrokerChoice, broker_part
from infra.local.clickhouse_gateway import clickhouse_part
from infra.local.ports import LOOPBACK, free_port
from infra.local.supervisor import ProcessSpec, Ready, Supervisor
from infra.local.valkey import valkey_part
from infra.local.webhook import read_kept, webhook_part
from infra.settings import Settings, UserError
from infra.telemetry import get_logger

START_SECONDS = 60.0
log = get_logger("local")


class LocalStack:
    """Broker, Valkey, ClickHouse gateway and webhook receiver on free loopback ports.

    Topics and tables are made by the caller. A context manager; `start` and `stop` do the same.

    Args:
        data_dir: everything they keep; one stack at a time may use it.
        broker: "kafka" must be the real one; "auto" takes Tansu where there is none.
        kafka_home: a folder with `libs/*.jar`.
        given: each part whose URL is set in these settings (by the environment or a flag) is not
            started, but used.
        nodes: of the real Kafka; topics of three have three copies (`replication`).

    Attributes:
        kafka_url, redis_url, clickhouse_url, webhook_url: set once started.
        broker: "kafka 4.3.1", "tansu", or "given".
        supervisor: may start more processes; they stop first.
        startup_seconds: what `start` took.
    """

    def __init__(
        self,
        data_dir: Path,
        broker: BrokerChoice = "auto",
        kafka_home: Path | None = None,
        given: Settings | None = None,
        nodes: int = 1,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.supervisor = Supervisor(self.data_dir / "logs")
        self.kafka_url = self.redis_url = self.clickhouse_url = self.webhook_url = ""
        self.broker = "given"
        self.startup_seconds = 0.0
        self._choice: BrokerChoice = broker
        self._kafka_home = kafka_home
        self._given = given
        self._nodes = nodes
        self._lock: int | None = None

    def __enter__(self) -> LocalStack:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start what is not given; returns once every part answers.

        Raises:
            UserError: a part does not start, or the directory is in use; nothing is left running.
        """
        began = time.monotonic()
        try:
            self._take_directory()
            self.supervisor.start_together(self._parts(), START_SECONDS)
        except BaseException:
            self.stop()
            raise
        self.startup_seconds = time.monotonic() - began
        log.info("parts.ready", broker=self.broker, seconds=round(self.startup_seconds, 2))

    def stop(self) -> None:
        """Stop every process that was started; may be called twice."""
        self.supervisor.stop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def environment(self) -> dict[str, str]:
        """The settings that child processes need to find the parts."""
        # What comes meanwhile wakes no fetch of Tansu's: it answers when the time is over.
        wait = {"SPRINGTIDE_KAFKA_FETCH_WAIT_MS": "3"} if self.broker == "tansu" else {}
        return wait | {
            "SPRINGTIDE_KAFKA_URL": self.kafka_url,
            "SPRINGTIDE_REDIS_URL": self.redis_url,
            "SPRINGTIDE_CLICKHOUSE_URL": self.clickhouse_url,
            "SPRINGTIDE_WEBHOOK_URL": self.webhook_url,
            "SPRINGTIDE_DATA_DIR": str(self.data_dir),
        }

    def received_alerts(self) -> list[dict[str, Any]]:
        """Alerts that our webhook receiver got: `alerts[]` of every webhook, oldest first."""
        return [alert for webhook in read_kept(self._webhooks) for alert in webhook["alerts"]]

    @property
    def _webhooks(self) -> Path:
        return self.data_dir / "webhooks.jsonl"

    def _take_directory(self) -> None:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            # No child inherits it, so it is free again when we are gone, however we went.
            self._lock = os.open(self.data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{self.data_dir} is in use by another springtide: stop it, or take another "
                "--data-dir"
            ) from None
        except OSError as error:
            raise UserError(f"{self.data_dir} cannot be used ({error.strerror})") from None

    def _parts(self) -> list[tuple[ProcessSpec, Ready | None]]:
        """What is to be started; sets the URLs."""
        parts: list[tuple[ProcessSpec, Ready | None]] = []

        def part(
            name: str, url: str, start: Callable[[int], tuple[ProcessSpec, Ready | None]]
        ) -> str:
            if self._given is not None and name in self._given.model_fields_set:
                value = getattr(self._given, name)
                return str(getattr(value, "get_secret_value", lambda: value)())
            port = free_port()
            parts.append(start(port))
            return url.format(at=f"{LOOPBACK}:{port}")

        self.redis_url = part(
            "redis_url", "redis://{at}/0", lambda p: valkey_part(self.data_dir, p)
        )
        self.clickhouse_url = part(
            "clickhouse_url",
            "clickhouse://{at}/default",
            lambda p: (clickhouse_part(self.data_dir, p), None),
        )
        self.webhook_url = part(
            "webhook_url", "http://{at}/", lambda p: (webhook_part(self._webhooks, p), None)
        )
        if self._given is not None and "kafka_url" in self._given.model_fields_set:
            self.kafka_url = self._given.kafka_url.get_secret_value()
        else:
            parts += self._broker()
        return parts

    @property
    def replication(self) -> int:
        """Copies of a topic that this Kafka can hold."""
        return min(self._nodes, 3)

    def _broker(self) -> list[tuple[ProcessSpec, Ready | None]]:
        broker = broker_part(
            self._choice, self._kafka_home, self.data_dir, free_port(), self._nodes
        )
        self.broker, self.kafka_url = broker.title, broker.url
        return [(spec, broker.ready) for spec in broker.specs]
