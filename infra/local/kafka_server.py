"""A real Apache Kafka in KRaft mode: nodes that are broker and controller in one, durable."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
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
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
log.dirs={logs}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor={copies}
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
min.insync.replicas={in_sync}
# One node with a few groups needs no fifty partitions for their offsets.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
log.cleaner.dedupe.buffer.size=16777216
# A node that is gone is missed after three seconds, not nine. The others take over; and when it
# is back after a kill, it has to wait until the controller has given its former self up.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
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


def kafka_parts(
    home: Path, java: Path, data_dir: Path, ports: Sequence[int]
) -> tuple[ProcessSpec, ...]:
    """What to start: a node a port; several are one cluster, each with a copy of everything.

    The first time it formats a node's logs below `data_dir` (about a second each). A single node
    lives in `kafka`, the nodes of a cluster in `kafka-1`, `kafka-2`, …

    Raises:
        UserError: the storage cannot be formatted; the message holds the tool's last line.
    """
    count = len(ports)
    names = ["kafka"] if count == 1 else [f"kafka-{n + 1}" for n in range(count)]
    controllers = [free_port() for _ in ports]
    voters = ",".join(f"{n + 1}@{LOOPBACK}:{port}" for n, port in enumerate(controllers))
    copies = {"voters": voters, "copies": min(count, 3), "in_sync": 2 if count >= 3 else 1}
    cluster = _cluster_id(data_dir / names[0])
    parts = []
    for number, (name, port) in enumerate(zip(names, ports, strict=True)):
        places = {"node": number + 1, "port": port, "controller_port": controllers[number]}
        folder = (data_dir / name).absolute()
        command = _node(home, java, folder, cluster, {"host": LOOPBACK, **places, **copies})
        parts.append(ProcessSpec(name=name, command=command, restarts=3, stop_seconds=15.0))
    return tuple(parts)


def _node(
    home: Path, java: Path, folder: Path, cluster: str, values: Mapping[str, object]
) -> tuple[str, ...]:
    """Its command, once its settings are written and its storage is formatted."""
    folder.mkdir(parents=True, exist_ok=True)
    logs = folder / "logs"
    (folder / "log4j2.properties").write_text(LOGGING)
    settings = folder / "server.properties"
    run = _java(home, java, folder)
    if not (logs / "meta.properties").exists():
        # Into a folder beside it, so that a format that was cut off leaves nothing half done.
        draft = folder / "logs.new"
        shutil.rmtree(draft, ignore_errors=True)
        settings.write_text(PROPERTIES.format(logs=draft, **values))
        _format(run, settings, cluster)
        draft.rename(logs)
    settings.write_text(PROPERTIES.format(logs=logs, **values))
    return (*run, "kafka.Kafka", str(settings))


def _cluster_id(folder: Path) -> str:
    """That of the node's storage; a new one where it has none."""
    meta = folder / "logs" / "meta.properties"
    if meta.exists():
        found = re.search(r"^cluster\.id=(\S+)$", meta.read_text(), re.MULTILINE)
        if found:
            return found.group(1)
    made = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return f"k{made[1:]}" if made.startswith("-") else made  # the tool would read an option


def _java(home: Path, java: Path, folder: Path) -> tuple[str, ...]:
    config = f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}"
    return (str(java), *JVM, config, "-cp", f"{home.absolute()}/libs/*")


def _format(run: tuple[str, ...], settings: Path, cluster: str) -> None:
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
