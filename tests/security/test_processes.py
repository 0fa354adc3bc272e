"""Worker and API over TLS, with names, their secrets in files: all works, nothing tells them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
from kafka import KafkaProducer

from infra import warehouse
from infra.local.stack import LocalStack
from infra.security import kafka_client
from infra.serving import RedisTopKStore
from streams import topics

pytestmark = pytest.mark.kafka

SPRINGTIDE = str(Path(sys.executable).with_name("springtide"))
TOKEN = "t" * 12 + "-of-the-test"


class Processes:
    """What was started, what it printed, and the environment it was given."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment, self.folder = environment, folder
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> dict[str, Any]:
        log = (self.folder / f"{command[0]}.log").open("wb")
        process = subprocess.Popen(
            [SPRINGTIDE, *command], stdout=subprocess.PIPE, stderr=log, env=self.environment
        )
        self.running.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (self.folder / f"{command[0]}.log").read_text()[-3000:]
        announced: dict[str, Any] = json.loads(line)
        return announced

    def end(self) -> None:
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            process.wait(30)


@pytest.fixture(scope="module")
def processes_over_tls(
    stack: LocalStack,
    secure_kafka: dict[str, str],
    secure_redis: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Processes]:
    folder = tmp_path_factory.mktemp("over-tls")
    topics.apply(secure_kafka["scram"])
    warehouse.migrate(stack.clickhouse_url)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SPRINGTIDE_")}
    for name, url in (("KAFKA_URL", secure_kafka["scram"]), ("REDIS_URL", secure_redis)):
        path = folder / name.lower()
        path.write_text(url + "\n")
        path.chmod(0o600)
        environment[f"SPRINGTIDE_{name}_FILE"] = str(path)
    (folder / "tokens").write_text(f"{TOKEN} default read\n")
    environment |= {
        "SPRINGTIDE_CLICKHOUSE_URL": stack.clickhouse_url,
        "SPRINGTIDE_DATA_DIR": str(folder / "data"),
        "SPRINGTIDE_API_TOKENS_FILE": str(folder / "tokens"),
        "SPRINGTIDE_CHECKPOINT_SECONDS": "0.5",
    }
    processes = Processes(environment, folder)
    yield processes
    processes.end()


def test_a_click_over_tls_becomes_a_list(
    processes_over_tls: Processes, secure_kafka: dict[str, str], secure_redis: str, password: str
) -> None:
    processes = processes_over_tls
    processes.start("worker", "--port", "0")
    url = processes.start("api", "--port", "0")["url"]
    producer = KafkaProducer(**kafka_client(secure_kafka["scram"]))
    for number in range(20):
        user = f"u{number % 4}"
        event = {
            "id": f"e{number}", "type": "click", "user_id": user, "item_id": f"i{number % 9}",
            "occurred_at": datetime.now(UTC).isoformat(),
        }  # fmt: skip
        producer.send(
            topics.CLICKS, key=f"default/{user}".encode(), value=json.dumps(event).encode()
        )
    producer.flush(20)
    producer.close()
    store = RedisTopKStore.connect(secure_redis)
    deadline = time.monotonic() + 30
    found = None
    while (found is None or not found.items) and time.monotonic() < deadline:
        found = store.read("default", "u1")
        time.sleep(0.05)
    store.close()
    assert found is not None and found.items
    answer = httpx.get(
        f"{url}/v1/users/u1/recommendations", headers={"authorization": f"Bearer {TOKEN}"}
    )
    assert answer.status_code == 200 and answer.json()["items"]
    told = [path.read_text("utf-8", "replace") for path in processes.folder.glob("*.log")]
    told += [" ".join(psutil.Process(one.pid).cmdline()) for one in processes.running]
    for secret in (password, quote(password, safe=""), TOKEN):
        assert not any(secret in text for text in told)


@pytest.mark.parametrize("command", ["worker", "api", "topics", "replay", "simulate", "warehouse"])
def test_help_shows_no_secret(
    processes_over_tls: Processes, secure_kafka: dict[str, str], password: str, command: str
) -> None:
    given = {**processes_over_tls.environment, "SPRINGTIDE_KAFKA_URL": secure_kafka["scram"]}
    given.pop("SPRINGTIDE_KAFKA_URL_FILE")
    shown = subprocess.run(
        [SPRINGTIDE, command, "--help"], env=given, capture_output=True, text=True, check=True
    )
    for secret in (password, quote(password, safe="")):
        assert secret not in shown.stdout + shown.stderr
