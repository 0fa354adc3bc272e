"""Half an hour at 1,000 events a second; a backlog; a node of three lost at 2,000 a second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def springtide(kafka_home: Path, *arguments: str, timeout: float) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", *arguments, "--broker", "kafka", "--json"],
        env=os.environ | {"KAFKA_HOME": str(kafka_home)},
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.kafka
@pytest.mark.timeout(3_000)
def test_half_an_hour_leaves_memory_and_latency_as_they_were(kafka_home: Path) -> None:
    found = springtide(kafka_home, "soak", "--minutes", "30", timeout=2_900)
    assert found["ok"], (found["mb_a_minute"], found["drift"])
    assert found["events"] > 0.98 * 30 * 60 * 1_000


@pytest.mark.kafka
@pytest.mark.timeout(1_200)
def test_a_backlog_of_a_million_is_caught_up_and_newcomers_wait_no_longer_than_it_takes(
    kafka_home: Path,
) -> None:
    found = springtide(kafka_home, "bench", "backlog", "--workers", "2", timeout=1_100)
    assert found["kept"], found["worst_beyond"]
    assert found["lag_at_end"] == 0
    assert found["per_second"] >= 20_000


@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_a_node_of_three_is_lost_and_lists_are_fresh_again_within_30_seconds(
    kafka_home: Path,
) -> None:
    sizes = ("--nodes", "3", "--rate", "2000", "--events", "60000")
    found = springtide(
        kafka_home, "chaos", "--seeds", "0", *sizes, "--faults", "kill kafka-2 at 10", timeout=580
    )
    assert found["ok"], found
    assert found["fresh_ms"] <= 100, "it was not fresh before"
