"""A real Apache Kafka, one KRaft node: broker and controller in one process, durable."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import uuid
from pathlib import Path

from infra.local.ports import LOOPBACK, free_port
from infra.local.supervisor import ProcessSpec
from infra.settings import UserError

FORMAT_SECONDS = 60
# The heap bounds its memory at about 370 MB; the serial collector suits two cores. The quick
# compiler alone starts it with 2 instead of 3.1 s of CPU, and in the minutes that a demo or a test
# lasts the thorough one never earns its time: 100,000 sends cost 1.1 s of the broker's against 2.1.
JVM = (
    *("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"),
    "-XX:TieredStopAtLevel=1",
)

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
log.dirs={logs}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
# One node with a few groups needs no fifty partitions for their offsets.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
log.cleaner.dedupe.buffer.size=16777216
"""

# Without a configuration Kafka logs nothing at all.
LOGGING = """\
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
rootLogger.level=WARN
rootLogger.appenderRef.out.ref=out
logger.start.name=kafka.server.KafkaRaftServer
logger.start.level=INFO
"""


def is_kafka(home: Path) -> bool:
    """Whether the folder holds a Kafka server's jars."""
    return kafka_version(home) != ""


def kafka_version(home: Path) -> str:
    """As its main jar says it, such as 4.3.1; empty where there is none."""
    for jar in sorted(home.glob("libs/kafka_*.jar")):
        found = re.fullmatch(r"kafka_[\d.]+-(\d[\w.]*)\.jar", jar.name)
        if found:
            return found.group(1)
    return ""


def kafka_part(home: Path, java: Path, data_dir: Path, port: int) -> ProcessSpec:
    """What to start. The first time it formats `data_dir/kafka/logs` (about a second).

    Raises:
        UserError: the storage cannot be formatted; the message holds the tool's last line.
    """
    folder = (data_dir / "kafka").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    logs = folder / "logs"
    (folder / "log4j2.properties").write_text(LOGGING)
    settings = folder / "server.properties"
    run = _java(home, java, folder)
    ports = {"host": LOOPBACK, "port": port, "controller_port": free_port()}
    if not (logs / "meta.properties").exists():
        # Into a folder beside it, so that a format that was cut off leaves nothing half done.
        draft = folder / "logs.new"
        shutil.rmtree(draft, ignore_errors=True)
        settings.write_text(PROPERTIES.format(logs=draft, **ports))
        _format(run, settings)
        draft.rename(logs)
    settings.write_text(PROPERTIES.format(logs=logs, **ports))
    return ProcessSpec(
        name="kafka", command=(*run, "kafka.Kafka", str(settings)), restarts=3, stop_seconds=15.0
    )


def _java(home: Path, java: Path, folder: Path) -> tuple[str, ...]:
    config = f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}"
    return (str(java), *JVM, config, "-cp", f"{home.absolute()}/libs/*")


def _format(run: tuple[str, ...], settings: Path) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    if cluster.startswith("-"):  # the tool would read an option
        cluster = "k" + cluster[1:]
    try:
        subprocess.run(
            [*run, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(settings)],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=FORMAT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stdout", "") or error).strip().splitlines()[-1:]
        raise UserError(f"Kafka's storage cannot be formatted: {' '.join(said)}") from None
