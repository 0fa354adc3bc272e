"""Fixtures that every folder shares: the shared data, a real Kafka, and the embedded parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from infra.local.stack import LocalStack

# Machines are noisy: what takes long is not wrong.
settings.register_profile("springtide", settings(), deadline=None)
settings.load_profile("springtide")


def _missing(what: str) -> None:
    """Skip with one visible reason; under CI that is a failure, not a gap."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with real data and the real Kafka: SPRINGTIDE_SHARED, default ../shared."""
    default = Path(__file__).parents[2] / "shared"
    folder = Path(os.environ.get("SPRINGTIDE_SHARED", default))
    if not folder.is_dir():
        _missing(f"no shared data at {folder}: set SPRINGTIDE_SHARED")
    return folder


@pytest.fixture(scope="session")
def kafka_home(request: pytest.FixtureRequest) -> Path:
    """A real Apache Kafka: KAFKA_HOME first, then the shared one."""
    given = os.environ.get("KAFKA_HOME")
    home = Path(given) if given else request.getfixturevalue("shared_dir") / "kafka"
    if not any((home / "libs").glob("kafka-server*.jar")) and not any(
        (home / "libs").glob("kafka_*.jar")
    ):
        _missing(f"no Apache Kafka at {home}: set KAFKA_HOME")
    return home


@pytest.fixture(scope="session")
def stack(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Every embedded part, with the real Kafka, once a session."""
    parts = LocalStack(tmp_path_factory.mktemp("stack"), broker="kafka", kafka_home=kafka_home)
    with parts:
        yield parts


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """`springtide classifier` with room for 256 texts."""
    program = "from streams.cli import main; main()"
    command = [sys.executable, "-c", program, "classifier", "--port", "0", "--queue", "256"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        announced = json.loads(process.stdout.readline())
        assert announced["ready"] is True
        yield announced["url"]
        process.terminate()
        assert process.wait(15) == 0, "a terminated server ends with 0"
