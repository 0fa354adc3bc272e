"""`springtide bench serve` in small: real parts, the real API, right answers, its JSON whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from urllib.parse import parse_qs, urlsplit

import pytest

from streams.bench_load import Load, question

SPRINGTIDE = str(Path(sys.executable).with_name("springtide"))


def test_every_question_filters_and_excludes() -> None:
    load = Load("http", "http://127.0.0.1:8080", 1.0, users=10, items=100, token="t" * 24)
    line, *heads = question(load, Random(1)).decode().split("\r\n")
    method, target, _ = line.split(" ")
    asked = parse_qs(urlsplit(target).query)
    assert method == "GET"
    assert set(asked) == {"n", "topic", "surface", "exclude"}
    assert len(asked["exclude"][0].split(",")) == 5
    assert f"Authorization: Bearer {'t' * 24}" in heads


@pytest.mark.kafka
@pytest.mark.timeout(120)
def test_serve_measures_both_ways(kafka_home: Path) -> None:
    done = subprocess.run(
        [SPRINGTIDE, "bench", "serve", "--users", "200", "--items", "400", "--seconds", "0.5",
         "--runs", "1", "--broker", "kafka", "--json"],
        env=os.environ | {"KAFKA_HOME": str(kafka_home)},
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for part in (found, found["redis"]):
        assert part["per_second"] > 0
        assert part["per_core_second"] > 0
        assert 0 < part["p50_ms"] <= part["p99_ms"]
        assert part["client"]
    assert found["broker"].startswith("kafka")
    assert (found["users"], found["items"], found["list_size"]) == (200, 400, 50)
    assert found["filters"] == ["topic", "surface", "exclude"]
