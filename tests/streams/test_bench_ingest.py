"""`bench ingest` at its smallest, on a real broker and with the real worker."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from infra.settings import UserError
from streams.bench_ingest import DOES, PLAIN, SETTINGS
from streams.cli import app


def test_every_setting_says_what_it_does() -> None:
    assert set(DOES) == {PLAIN, *SETTINGS}


def test_a_setting_that_is_none_is_told() -> None:
    result = CliRunner().invoke(app, ["bench", "ingest", "--setting", "magic"])
    assert isinstance(result.exception, UserError) and "magic" in str(result.exception)


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_the_backlog_is_worked_off_and_counted(
    kafka_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_HOME", str(kafka_home))
    arguments = ["--events", "2000", "--runs", "1", "--users", "100", "--items", "50"]
    arguments += ["--setting", "statistics", "--setting", PLAIN, "--broker", "kafka"]
    arguments += ["--data-dir", str(tmp_path / "bench"), "--json"]
    result = CliRunner().invoke(app, ["bench", "ingest", *arguments])
    assert result.exit_code == 0, result.output
    found = msgspec.json.decode(result.stdout)
    assert found["broker"] == "kafka" and found["events"] == 2000
    assert set(found["settings"]) == {"statistics"} and found["settings"]["statistics"] > 0
    assert found["ratio"]["statistics"] > 0 and found["peers"][PLAIN] > 0
    assert found["components"]["statistics"]["learner"] == "statistics"
