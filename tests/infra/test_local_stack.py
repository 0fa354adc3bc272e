"""The embedded parts together: quick to start, durable, loopback only, gone at the end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from clickhouse_driver import Client

from infra.local.broker import broker_part
from infra.local.clickhouse_gateway import clickhouse_part
from infra.local.ports import free_port, is_free
from infra.local.stack import LocalStack
from infra.local.supervisor import Supervisor
from infra.local.valkey import valkey_part
from infra.local.webhook import webhook_part
from infra.security import kafka_servers
from infra.settings import UserError, load_settings
from infra.warehouse import Warehouse
from streams import topics

SPRINGTIDE = [sys.executable, "-c", "from streams.cli import main; main()"]


def send(kafka_url: str, values: list[bytes]) -> None:
    import kafka

    producer = kafka.KafkaProducer(bootstrap_servers=kafka_servers(kafka_url))
    sent = [producer.send(topics.CLICKS, value, partition=0) for value in values]
    for future in sent:
        future.get(20)
    producer.close()


def fetch(kafka_url: str, count: int) -> list[bytes]:
    import kafka

    consumer = kafka.KafkaConsumer(bootstrap_servers=kafka_servers(kafka_url))
    consumer.assign([kafka.TopicPartition(topics.CLICKS, 0)])
    consumer.seek_to_beginning()
    found: list[bytes] = []
    deadline = time.monotonic() + 20
    while len(found) < count and time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=200).values():
            found += [record.value for record in records]
    consumer.close()
    return found


def alive(pids: list[int]) -> list[int]:
    return [
        pid
        for pid in pids
        if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    ]


def all_gone(pids: list[int], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pids)


def environment(**more: str) -> dict[str, str]:
    ours = {k: v for k, v in os.environ.items() if "SPRINGTIDE_" not in k and k != "KAFKA_HOME"}
    return {**ours, **more}


def started(arguments: list[str], env: dict[str, str]) -> tuple[subprocess.Popen[str], Any]:
    """`springtide local --json` once all is ready: the process, and the settings it printed."""
    process = subprocess.Popen(
        [*SPRINGTIDE, "local", "--json", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def test_all_parts_start_in_time_and_answer(stack: LocalStack) -> None:
    assert stack.broker.startswith("kafka ") and stack.broker[6].isdigit()
    assert stack.startup_seconds < 15
    client = redis.Redis.from_url(stack.redis_url)
    assert client.ping() and client.config_get("appendonly")["appendonly"] == "yes"
    client.close()
    warehouse = Warehouse(stack.clickhouse_url)
    assert warehouse.query("SELECT 1 AS one") == [{"one": 1}]
    warehouse.close()
    with urllib.request.urlopen(stack.webhook_url) as answer:
        assert isinstance(json.load(answer), list)
    assert stack.environment()["SPRINGTIDE_KAFKA_URL"] == stack.kafka_url
    assert (
        load_settings(**{"kafka_url": stack.kafka_url}).kafka_url.get_secret_value()
        == stack.kafka_url
    )


def test_nothing_listens_beyond_the_loopback_address(stack: LocalStack) -> None:
    listening = set()
    for name in ("kafka", "valkey", "clickhouse", "webhook"):
        process = psutil.Process(stack.supervisor.pid(name))
        for each in [process, *process.children(recursive=True)]:
            listening |= {
                connection.laddr.ip
                for connection in each.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            }
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_a_directory_serves_one_stack_at_a_time(stack: LocalStack) -> None:
    with pytest.raises(UserError, match=r"in use by another springtide.*--data-dir"):
        LocalStack(stack.data_dir, broker="tansu").start()
    with pytest.raises(UserError, match="cannot be used"):
        LocalStack(Path("/dev/null/x"), broker="tansu").start()


def test_tansu_needs_nothing_and_parts_that_are_given_are_used(
    stack: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPRINGTIDE_KAFKA_URL", raising=False)
    given = load_settings(
        redis_url=stack.redis_url, clickhouse_url=stack.clickhouse_url, webhook_url="http://h/x"
    )
    with LocalStack(tmp_path, broker="auto", given=given) as other:
        assert other.broker == "tansu" and other.startup_seconds < 10
        assert (other.redis_url, other.clickhouse_url) == (stack.redis_url, stack.clickhouse_url)
        assert other.webhook_url == "http://h/x" and other.received_alerts() == []
        assert len(topics.apply(other.kafka_url)) == len(topics.CATALOGUE)
        assert topics.apply(other.kafka_url) == []  # though it alters no topic
        send(other.kafka_url, [b"1", b"2"])
        assert fetch(other.kafka_url, 2) == [b"1", b"2"]
        assert [p.name() for p in psutil.Process(other.supervisor.pid("tansu")).children()] == []
        with pytest.raises(KeyError):
            other.supervisor.pid("valkey")


def test_a_kafka_that_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="KAFKA_HOME"):
        broker_part("kafka", None, tmp_path, 1)
    with pytest.raises(UserError, match=r"holds no libs/kafka_\*\.jar"):
        broker_part("auto", tmp_path, tmp_path, 1)


@pytest.mark.kafka
def test_what_is_acknowledged_survives_kill_9_of_the_owner_and_a_restart(
    kafka_home: Path, tmp_path: Path
) -> None:
    env = environment(KAFKA_HOME=str(kafka_home))
    began = time.monotonic()
    process, first = started(["--data-dir", str(tmp_path), "--broker", "kafka"], env)
    assert time.monotonic() - began < 20
    pids = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    assert len(pids) == 4
    send(first["SPRINGTIDE_KAFKA_URL"], [b"1", b"2", b"3"])
    client = redis.Redis.from_url(first["SPRINGTIDE_REDIS_URL"])
    client.set("key", "value")
    time.sleep(1.2)  # what its own promise is: synced every second
    client.close()
    clickhouse = Client.from_url(first["SPRINGTIDE_CLICKHOUSE_URL"])
    clickhouse.execute("INSERT INTO schema_migrations (name, digest) VALUES", [("mark", "x")])
    clickhouse.disconnect()
    meta = tmp_path / "kafka" / "logs" / "meta.properties"
    cluster = [line for line in meta.read_text().splitlines() if line.startswith("cluster.id")]

    process.kill()
    process.communicate()
    assert all_gone(pids)

    process, second = started(["--data-dir", str(tmp_path), "--broker", "kafka"], env)
    pids = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    assert fetch(second["SPRINGTIDE_KAFKA_URL"], 3) == [b"1", b"2", b"3"]
    client = redis.Redis.from_url(second["SPRINGTIDE_REDIS_URL"])
    assert client.get("key") == b"value"
    client.close()
    warehouse = Warehouse(second["SPRINGTIDE_CLICKHOUSE_URL"])
    assert warehouse.query("SELECT name FROM schema_migrations WHERE digest = 'x'")
    warehouse.check()
    warehouse.close()
    assert cluster[0] in meta.read_text().splitlines()

    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.communicate()
    assert all_gone(pids, 0.5)


def test_local_prints_what_to_export_and_stops_on_ctrl_c(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*SPRINGTIDE, "local", "--data-dir", str(tmp_path), "--broker", "tansu"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(5)]
    pids = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    assert all(line.startswith("export SPRINGTIDE_") for line in lines) and len(pids) == 4
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # the impatient must not break off the stopping
    assert process.wait(20) == 0
    _, said = process.communicate()
    assert all_gone(pids, 0.5) and "Traceback" not in said


def test_a_signal_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*SPRINGTIDE, "local", "--data-dir", str(tmp_path), "--broker", "tansu"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    deadline = time.monotonic() + 10
    while not psutil.Process(process.pid).children() and time.monotonic() < deadline:
        time.sleep(0.01)
    pids = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    out, said = process.communicate()
    assert pids and all_gone(pids, 0.5) and out == "" and "Traceback" not in said


def test_a_part_that_cannot_start_is_one_line_and_exit_2(tmp_path: Path) -> None:
    (tmp_path / "clickhouse").write_text("not a folder")
    done = subprocess.run(
        [*SPRINGTIDE, "local", "--data-dir", str(tmp_path), "--broker", "tansu"],
        capture_output=True, text=True, env=environment(), check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert "springtide: clickhouse ended while it started" in done.stderr
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(p.info)]


def test_a_part_that_dies_for_good_ends_local_with_exit_2(tmp_path: Path) -> None:
    process, settings = started(["--data-dir", str(tmp_path), "--broker", "tansu"], environment())
    children = psutil.Process(process.pid).children(recursive=True)
    next(child for child in children if child.name() == "tansu").kill()
    assert process.wait(20) == 2
    _, said = process.communicate()
    assert "springtide: tansu ended" in said and "Traceback" not in said
    assert all_gone([child.pid for child in children], 0.5) and len(settings) == 6


@pytest.mark.kafka
def test_a_taken_port_is_one_line(kafka_home: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken, Supervisor(tmp_path) as parts:
        port = taken.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(UserError, match=f"valkey ended.*{port}"):
            parts.start(*valkey_part(tmp_path, port))
        with pytest.raises(UserError, match=f"webhook ended.*port {port}"):
            parts.start(webhook_part(tmp_path / "w.jsonl", port))
        with pytest.raises(UserError, match=f"clickhouse ended.*port {port}"):
            parts.start(clickhouse_part(tmp_path, port))
        broker = broker_part("kafka", kafka_home, tmp_path, port)
        with pytest.raises(UserError, match=f"kafka ended.*{port}"):
            parts.start(broker.specs[0], broker.ready)


def test_no_two_parts_are_given_the_same_port() -> None:
    assert len({free_port() for _ in range(500)}) == 500
