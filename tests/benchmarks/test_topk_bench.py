"""What lists cost and what candidates leave out, held nightly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from online.config import LearnerConfig
from online.prequential import BATCH, Springtide
from online.prequential_metrics import gains
from streams.lists_file import Filters, read_stream

COLUMNS = "user=user_id,item=item_id,time=timestamp"
STREAMS = {
    "rec-ml1m-half": Filters(COLUMNS, "rating", 4.0, 30_000),
    "rec-mooccubex-seq": Filters(COLUMNS, limit=30_000),
}


def bench(*words: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "bench", *words, "--json"],
        capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.data
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("scan_up_to", [0, LearnerConfig().scan_up_to])
def test_candidates_keep_the_ndcg_of_the_scan(shared_dir: Path, name: str, scan_up_to: int) -> None:
    stream, _ = read_stream(shared_dir / "data" / name / "stream.csv.gz", STREAMS[name])
    ndcg = {}
    for some in (scan_up_to, 1_000_000):
        method = Springtide(stream, LearnerConfig(scan_up_to=some))
        for start in range(0, len(stream), BATCH):
            method.learn(start, min(start + BATCH, len(stream)))
        evaluated = method.ranks[method.ranks > 0]
        halves = evaluated, evaluated[len(evaluated) // 2 :]
        ndcg[some] = np.array([gains(half).mean() for half in halves])
    recall = ndcg[scan_up_to] / ndcg[1_000_000]
    print(name, scan_up_to, "NDCG@10", ndcg, "recall", recall)
    assert (recall >= 0.99).all(), ndcg


@pytest.mark.timeout(900)
def test_the_exact_best_are_found_as_fast_as_promised() -> None:
    for size, us, times in zip(bench("topk")["sizes"], (66, 270, 3_100), (2, 4, 5), strict=True):
        assert size["recall"] == 1.0
        assert size["us"] <= us or size["ratio"]["implicit"] >= times, size


@pytest.mark.timeout(900)
def test_an_event_costs_the_same_however_many_users_and_items(tmp_path: Path) -> None:
    found = bench("scale", "--out", str(tmp_path))
    assert found["users_ratio"] <= 1.2, found
    assert found["items_ratio"] <= 2.0, found
    assert (tmp_path / "scale.png").stat().st_size and (tmp_path / "scale.html").stat().st_size
