"""`springtide simulate`: a file that replay reads back whole, and one line for what is wrong."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from infra.settings import UserError
from streams.events import Comment
from streams.replay import Replay, ReplayOptions
from streams.replay_rows import RowFile
from streams.sender import Outbound
from streams.simulate import SimulationConfig, simulate
from streams.simulate_file import write_events
from streams.topics import COMMENTS

SMALL = SimulationConfig(users=40, items=60, seconds=20)


def read_back(path: Path) -> list[Outbound]:
    with RowFile(path) as rows:
        return list(Replay(rows, ReplayOptions()))


def springtide(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streams.cli", "simulate", *arguments]
    return subprocess.run(
        command, check=False, cwd=folder, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_replay_reads_back_what_was_written(tmp_path: Path, name: str) -> None:
    sent = [message for message in simulate(SMALL) if message.is_interaction]
    assert write_events(simulate(SMALL), tmp_path / name) == len(sent)
    read = read_back(tmp_path / name)
    assert [(m.topic, m.key) for m in read] == [(m.topic, m.key) for m in sent]
    for a, b in zip(sent, read, strict=True):
        if a.topic == COMMENTS:
            assert msgspec.json.decode(b.value, type=Comment) == msgspec.json.decode(
                a.value, type=Comment
            )


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"jsonl"):
        write_events(simulate(SMALL), tmp_path / "events.csv")
    with pytest.raises(UserError, match="no such file"):
        write_events(simulate(SMALL), tmp_path / "absent" / "events.jsonl")


def test_the_command_writes_and_tells_the_truth(tmp_path: Path) -> None:
    done = springtide("--for", "20", "--to", "platform.jsonl.gz", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    with gzip.open(tmp_path / "platform.jsonl.gz") as file:
        lines = sum(1 for _ in file)
    assert f"{lines} events in platform.jsonl.gz" in done.stdout
    assert "the scandal: " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--speed", "quick"), "--speed quick"),
        (("--tenant", "A b"), "--tenant A b"),
        (("--for", "inf", "--to", "x.jsonl"), "--for inf"),
        (("--to", "x.csv"), "--to x.csv"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    done = springtide(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"springtide: {says}")
    assert done.stderr.count("\n") == 1
