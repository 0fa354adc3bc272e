"""What the demo runs on: the embedded parts, and our three processes, supervised."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from infra.local.broker import BrokerChoice
from infra.local.ports import LOOPBACK, free_port, is_free
from infra.local.stack import LocalStack
from infra.local.supervisor import ProcessSpec, Supervisor
from infra.settings import Settings, UserError
from infra.telemetry import get_logger

SPRINGTIDE = (sys.executable, "-m", "streams.cli")
WORKER = (*SPRINGTIDE, "worker")
START_SECONDS = 180.0  # what ends is seen at once; what is slow on a busy machine is not broken
STOP_SECONDS = 20.0
WORKER_RESTARTS = 10
TAIL_CHARACTERS = 600

log = get_logger("demo")


class Parts:
    """Starts everything at once as far as it can, and stops it in the right order.

    Args:
        data_dir: everything they keep; new or empty.
        settings: a part whose URL is set in them is used, not started.
        port: of the page; 0: a free one.
        worker: the command of the worker.
        workers: how many of them share the partitions; "worker", "worker-2", …
        nodes: of a real Kafka that is started here.

    Raises:
        UserError: the port is taken.

    Attributes:
        stack: the embedded parts; their URLs are known once started.
        page_url: where the ops page is; worker_url: health and metrics of the first worker.
    """

    def __init__(
        self,
        data_dir: Path,
        broker: BrokerChoice,
        settings: Settings,
        port: int = 0,
        worker: tuple[str, ...] = WORKER,
        workers: int = 1,
        nodes: int = 1,
    ) -> None:
        if port and not is_free(port):
            raise UserError(
                f"port {port} on {LOOPBACK} is taken: choose another with --port, or --port 0"
            )
        self.data_dir = data_dir.absolute()
        self.checkpoints = str(self.data_dir / "checkpoints")
        self.stack = LocalStack(self.data_dir, broker, settings.kafka_folder, settings, nodes)
        # Processes of their own supervisors: they end before the parts on which the books stand.
        self._models = Supervisor(self.data_dir / "logs")
        self._apps = Supervisor(self.data_dir / "logs")
        self._settings = settings
        self._worker = worker
        self._workers = ["worker", *(f"worker-{number}" for number in range(2, workers + 1))]
        self._ports = {name: free_port() for name in ("classifier", *self._workers)}
        self._ports["api"] = port or free_port()
        self.page_url = f"http://{LOOPBACK}:{self._ports['api']}"
        self.worker_url = f"http://{LOOPBACK}:{self._ports['worker']}"

    def start(self) -> None:
        """Start everything; returns once all of it is ready.

        Raises:
            UserError: something does not start; nothing is left running.
        """
        with ThreadPoolExecutor(2) as threads:
            try:
                classifier = threads.submit(self._start_classifier)
                self.stack.start()
                self._furnish(threads)
                apps = [*map(self._worker_spec, self._workers), self._api_spec()]
                self._apps.start_together([(app, None) for app in apps], START_SECONDS)
                classifier.result()
            except BaseException:
                self.stop()  # the classifier's thread ends with its child
                raise

    def stop_apps(self) -> None:
        """End worker, page and classifier; the worker takes its last checkpoint."""
        self._apps.stop()
        self._models.stop()

    def stop(self) -> None:
        """Stop everything; may be called twice."""
        self.stop_apps()
        self.stack.stop()

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a process by its name; an exit that follows counts as unexpected."""
        if name == "classifier":
            return self._models.kill(name, number)
        ours = name == "api" or name in self._workers
        supervisor = self._apps if ours else self.stack.supervisor
        supervisor.kill(name, number)

    def forgive(self) -> None:
        """Exits until now, which were meant, no longer count against the restarts."""
        for supervisor in (self._apps, self._models, self.stack.supervisor):
            supervisor.forgive()

    def pids(self) -> dict[str, int]:
        """Name → process id, of our own processes and the parts that we started."""
        found: dict[str, int] = {}
        for supervisor in (self._apps, self._models, self.stack.supervisor):
            found |= {name: supervisor.pid(name) for name in supervisor.names()}
        return found

    def check(self) -> None:
        """Look whether everything still runs.

        Raises:
            UserError: something ended for good; the message holds the end of its log.
        """
        for supervisor in (self._apps, self._models, self.stack.supervisor):
            for name in supervisor.failed():
                path = supervisor.log_of(name)
                tail = path.read_text("utf-8", "replace")[-TAIL_CHARACTERS:]
                words = " | ".join(line.strip() for line in tail.splitlines() if line.strip())
                raise UserError(f"{name} ended for good: {words or 'it said nothing'}")

    def _start_classifier(self) -> None:
        if "classifier_url" not in self._settings.model_fields_set:
            spec = self._spec("classifier", (*SPRINGTIDE, "classifier"), restarts=3)
            # A new catalogue keeps it busy for a while; lists go first.
            self._models.start(msgspec.structs.replace(spec, nice=5))

    def _furnish(self, threads: ThreadPoolExecutor) -> None:
        from infra import warehouse
        from streams import topics

        tables = threads.submit(warehouse.migrate, self.stack.clickhouse_url)
        # Tansu takes its time for each batch, and of each partition there is one.
        tansu = self.stack.broker == "tansu"
        count = len(self._workers) if tansu else topics.PARTITIONS
        topics.apply(self.stack.kafka_url, count, replication=self.stack.replication)
        if self.stack.broker == "given":
            self._require_empty()
        tables.result()

    def _require_empty(self) -> None:
        """The books would not balance over events of others."""
        from kafka import KafkaConsumer, TopicPartition

        from infra.security import kafka_client
        from streams import topics

        consumer = KafkaConsumer(**kafka_client(self.stack.kafka_url))
        try:
            places = [
                TopicPartition(topic, partition)
                for topic in topics.INTERACTION_TOPICS
                for partition in consumer.partitions_for_topic(topic) or ()
            ]
            if any(consumer.end_offsets(places).values()):
                raise UserError(
                    "this Kafka holds events already: the demo counts what it sends, "
                    "so give it an empty one, or unset SPRINGTIDE_KAFKA_URL"
                )
        finally:
            consumer.close()

    def _worker_spec(self, name: str) -> ProcessSpec:
        return self._spec(name, self._worker, WORKER_RESTARTS)

    def _api_spec(self) -> ProcessSpec:
        return self._spec("api", (*SPRINGTIDE, "api"), restarts=3)

    def _spec(self, name: str, command: tuple[str, ...], restarts: int) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            command=(*command, "--port", str(self._ports[name])),
            environment=self._environment(),
            announces=True,
            restarts=restarts,
            stop_seconds=STOP_SECONDS,
        )

    def _environment(self) -> dict[str, str]:
        classifier = f"http://{LOOPBACK}:{self._ports['classifier']}"
        given = self._settings.model_fields_set
        return {
            **self.stack.environment(),
            "SPRINGTIDE_CHECKPOINT_URL": self.checkpoints,
            "SPRINGTIDE_WORKER_URLS": ",".join(
                f"http://{LOOPBACK}:{self._ports[name]}" for name in self._workers
            ),
            "SPRINGTIDE_CLASSIFIER_URL": (
                self._settings.classifier_url if "classifier_url" in given else classifier
            ),
            "SPRINGTIDE_EXPLORE_EVERY": str(self._settings.explore_every),
            "SPRINGTIDE_FALSE_ALARMS_PER_DAY": str(self._settings.false_alarms_per_day),
        }
