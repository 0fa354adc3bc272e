"""`springtide bench classifier` in small: the real server, the real pipeline, its JSON whole."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.predictions import CANARIES

SPRINGTIDE = str(Path(sys.executable).with_name("springtide"))


@pytest.mark.timeout(280)
def test_it_measures_us_the_peer_and_the_server(tmp_path: Path) -> None:
    data = tmp_path / "comments.csv"
    with data.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["comment"])
        writer.writerows([f"{text} {n}"] for n in range(12) for text in CANARIES)
    done = subprocess.run(
        [SPRINGTIDE, "bench", "classifier", "--data", str(data), "--text", "comment",
         "--runs", "1", "--seconds", "0.5", "--threads", "1", "--json"],
        capture_output=True, text=True, timeout=270, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["peers"]) == set(found["ratio"]) == {"pipeline_batch_1", "pipeline_batch_32"}
    for name, rate in found["peers"].items():
        assert found["ratio"][name] == pytest.approx(found["per_core_second"] / rate)
    assert 0 <= found["flips"] <= 0.05
    assert found["texts"] == 72
    assert 0 < found["p50_ms"] <= found["p99_ms"]
    http, flood = found["http"], found["http"]["flood"]
    assert http["per_second"] > 0 and http["per_core_second"] > 0
    assert flood["accepted"] + flood["refused_429"] == flood["requests"]
    assert flood["other"] == 0
    assert found["components"] == ["classifier"]


def test_a_file_without_the_column_is_one_line(tmp_path: Path) -> None:
    data = tmp_path / "comments.csv"
    data.write_text("a,b\n1,2\n", "utf-8")
    done = subprocess.run(
        [SPRINGTIDE, "bench", "classifier", "--data", str(data)],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no column 'text'" in done.stderr
