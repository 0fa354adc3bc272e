"""The freshness that we promise, measured as a user would measure it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

P50_MS, P99_MS = 25.0, 150.0


@pytest.mark.kafka
@pytest.mark.timeout(420)
def test_lists_are_fresh_with_everything_on_one_machine(kafka_home: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "bench", "freshness",
         "--rate", "200", "--seconds", "30", "--json", "--broker", "kafka",
         "--data-dir", str(tmp_path / "bench")],
        env=os.environ | {"KAFKA_HOME": str(kafka_home)},
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["p50_ms"] <= P50_MS, found
    assert found["p99_ms"] <= P99_MS, found
    assert len(found["runs"]) == 5
    for run in found["runs"]:
        assert run["count"] > 0.85 * found["followed_share"] * found["rate"] * found["seconds"]
        assert run["unanswered"] <= 0.001 * run["count"]
