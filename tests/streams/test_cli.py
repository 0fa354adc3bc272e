"""The front door: quick, helpful, and one line where the user can mend something."""

from __future__ import annotations

import os
import re
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streams.cli import COMMANDS

SPRINGTIDE = str(Path(sys.executable).with_name("springtide"))
NOWHERE = {
    "SPRINGTIDE_KAFKA_URL": "kafka://127.0.0.1:9",
    "SPRINGTIDE_REDIS_URL": "redis://:hunter2@127.0.0.1:9/0",
    "SPRINGTIDE_CLICKHOUSE_URL": "clickhouse://u:hunter2@127.0.0.1:9/default",
}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SPRINGTIDE, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def complaint(answer: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a command that could not."""
    lines = answer.stderr.strip().splitlines()
    assert answer.returncode == 2, answer
    assert len(lines) == 1 and lines[0].startswith("springtide: "), answer.stderr
    assert "Traceback" not in answer.stderr and "hunter2" not in answer.stderr
    return lines[0]


def test_help_answers_at_once_and_names_every_command() -> None:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        answer = run("--help")
        seconds.append(time.perf_counter() - started)
        assert answer.returncode == 0
        assert all(f"  {name} " in answer.stdout for name in COMMANDS)
    # Machines are noisy: the bar of .5 s is for the quickest run here, the median may be twice it.
    assert min(seconds) < 0.5 and statistics.median(seconds) < 1.0, seconds


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_has_an_example(name: str) -> None:
    answer = run(name, "--help")
    assert answer.returncode == 0, answer.stderr
    shown = " ".join(answer.stdout.split())
    assert re.search(rf"Examples?: springtide {name}\b", shown), answer.stdout
    assert "hunter2" not in answer.stdout


def test_a_terminal_that_lacks_a_sign_is_no_error(tmp_path: Path) -> None:
    to = ("--to", str(tmp_path / "e.jsonl"))
    answer = run("simulate", "--for", "30", "--rate", "1", *to, PYTHONIOENCODING="ascii")
    assert answer.returncode == 0 and "the scandal: \\u6570\\u636e" in answer.stdout, answer.stderr


def test_a_mistyped_command_is_told_its_neighbour() -> None:
    assert "did you mean `replay`?" in complaint(run("repaly"))


def test_a_wrong_setting_names_itself() -> None:
    line = complaint(run("topics", "apply", SPRINGTIDE_MAX_USERS="many"))
    assert "SPRINGTIDE_MAX_USERS" in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("topics", "apply"), "no Kafka answers"),
        (("warehouse", "migrate"), "ClickHouse at clickhouse://127.0.0.1:9 does not answer"),
        (("worker",), "no Kafka answers"),
        (("dead-letters", "list"), "no Kafka answers"),
        (("replay", "no-such-file.csv"), "no-such-file.csv"),
        (("demo", "--events", "no-such-file.csv"), "no-such-file.csv"),
        (("train", "sentiment", "--data", "no-such-folder"), "no-such-folder"),
        (("topics", "schemas", "--to", "/dev/null/x"), "/dev/null/x: Not a directory"),
        (("export", "items", "--epsilon", "1", "--out", "items.csv"), "no Kafka answers"),
        (("export", "items", "--epsilon", "1e-9", "--out", "items.csv"), "from 0.000001 to 100"),
        (("export", "items", "--epsilon", "1", "--out", "nowhere/x.csv"), "there is no folder"),
        (("soak", "--out", "nowhere/x.json"), "there is no folder"),
        (("chaos", "--out", "nowhere/x.jsonl"), "there is no folder"),
        (("erasure", "check", "u1", "--data-dir", "nowhere"), "nowhere/pseudonym.key: no such"),
        (("checkpoints", "show", "--data-dir", "nowhere"), "nowhere/checkpoints: no such folder"),
        (("dead-letters", "replay", "--data-dir", "nowhere"), "nowhere/pseudonym.key: no such"),
    ],
)
def test_what_is_missing_is_said_in_one_line(arguments: tuple[str, ...], says: str) -> None:
    assert says in complaint(run(*arguments, **NOWHERE))


def test_an_unreachable_redis_is_said_in_one_line(stack: object) -> None:
    kafka = {"SPRINGTIDE_KAFKA_URL": stack.kafka_url}  # type: ignore[attr-defined]
    run("topics", "apply", **kafka)
    line = complaint(run("worker", **{**NOWHERE, **kafka}))
    assert "Redis at redis://127.0.0.1:9 does not answer" in line


@pytest.mark.parametrize("name", ["worker", "api", "classifier"])
def test_a_taken_port_is_said_in_one_line(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = complaint(run(name, "--port", str(port), **NOWHERE))
    assert f"port {port}" in line and "--port" in line
