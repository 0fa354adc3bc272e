"""The real trunk and the committed artifact, loaded once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.classifier import Classifier
from models.data import LabelledSet, load_sets
from models.trunk import default_cache_dir, trunk_folder


@pytest.fixture(scope="session")
def trunk() -> Path:
    return trunk_folder(default_cache_dir())


@pytest.fixture(scope="session")
def classifier(trunk: Path) -> Classifier:
    loaded = Classifier(trunk, threads=1)
    loaded.warm_up()
    return loaded


@pytest.fixture(scope="session")
def known_sets(shared_dir: Path) -> list[LabelledSet]:
    return load_sets(shared_dir / "data")


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
