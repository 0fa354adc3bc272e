"""`bench ingest` at its smallest, on a real broker and with the real worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from streams.bench_ingest import DOES, PLAIN, SETTINGS


def test_every_setting_says_what_it_does() -> None:
    assert set(DOES) == {PLAIN, *SETTINGS}


def bench_ingest(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streams.cli", "bench", "ingest", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=230, check=False)


def test_a_setting_that_is_none_is_told() -> None:
    done = bench_ingest("--setting", "magic")
    assert done.returncode == 2 and "--setting magic" in done.stderr


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_the_backlog_is_worked_off_and_counted(
    kafka_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_HOME", str(kafka_home))
    arguments = ["--events", "2000", "--runs", "1", "--users", "100", "--items", "50"]
    arguments += ["--setting", "statistics", "--setting", PLAIN, "--broker", "kafka"]
    done = bench_ingest(*arguments, "--data-dir", str(tmp_path / "bench"), "--json")
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode(done.stdout)
    assert found["broker"].startswith("kafka ") and found["events"] == 2000
    assert set(found["settings"]) == {"statistics"} and found["settings"]["statistics"] > 0
    assert found["ratio"]["statistics"] > 0 and found["peers"][PLAIN] > 0
    assert found["components"]["statistics"]["learner"] == "statistics"
