"""The rates at which lists are served that we promise, per core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

API_PER_CORE, API_P99_MS = 1_500, 10.0
REDIS_PER_CORE, REDIS_P99_MS = 10_000, 1.0


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_lists_are_served_fast(kafka_home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "bench", "serve", "--broker", "kafka", "--json"],
        env=os.environ | {"KAFKA_HOME": str(kafka_home)},
        capture_output=True, text=True, timeout=220, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["per_core_second"] >= API_PER_CORE, found
    assert found["p99_ms"] <= API_P99_MS, found
    assert found["redis"]["per_core_second"] >= REDIS_PER_CORE, found
    assert found["redis"]["p99_ms"] < REDIS_P99_MS, found
