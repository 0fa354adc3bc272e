"""The events a core takes, as we promise them; floors of issue 4."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FLOORS = {"statistics": 50_000, "everything": 15_000, "list-per-event": 3_000}
RATIOS = {"decode": 15.0, "statistics": 4.0}


@pytest.mark.kafka
@pytest.mark.timeout(900)
def test_a_core_takes_what_we_promise(kafka_home: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "bench", "ingest", "--runs", "3", "--json",
         "--broker", "kafka", "--data-dir", str(tmp_path / "bench")],
        env=os.environ | {"KAFKA_HOME": str(kafka_home)},
        capture_output=True, text=True, timeout=880, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(found["settings"][name] >= floor for name, floor in FLOORS.items()), found
    assert all(found["ratio"][name] >= ratio for name, ratio in RATIOS.items()), found
