"""The lists against every conventional peer: one ratio, held nightly on real courses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# MOOCCubeX, pseudo-time, first 200,000: what the design measured of the peers, HR@10 / NDCG@10.
PEERS = {
    "popularity": (0.097, 0.053), "decayed-popularity": (0.097, 0.054), "isgd": (0.031, 0.017),
    "eals": (0.217, 0.124), "item-cosine": (0.255, 0.151), "markov": (0.239, 0.153),
    "als": (0.192, 0.109), "als-fold-in": (0.240, 0.138),
    "ease": (0.205, 0.117), "ease-fresh": (0.265, 0.157),
}  # fmt: skip


@pytest.mark.data
@pytest.mark.timeout(1800)
def test_courses_beat_every_peer_and_no_peer_is_weaker_than_it_can_be(
    shared_dir: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "evaluate", "lists", "--json", "--peers", "all",
         "--data", str(shared_dir / "data/rec-mooccubex-seq/stream.csv.gz"),
         "--map", "user=user_id,item=item_id,time=timestamp", "--limit", "200000",
         "--resume", str(tmp_path / "run.npz"), "--plot", str(tmp_path / "run.png")],
        capture_output=True, text=True, timeout=1700, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    last = {name: method["last_half"] for name, method in found["methods"].items()}
    for name, (hr10, ndcg10) in PEERS.items():
        # Half a unit of the design's last digit, and one standard error.
        assert last[name]["hr10"] > hr10 - last[name]["hr10_se"] - 0.0005, name
        assert last[name]["ndcg10"] > ndcg10 - last[name]["ndcg10_se"] - 0.0005, name
    ours = last["springtide"]
    assert ours["hr10"] > 0.308 - ours["hr10_se"]
    assert ours["ndcg10"] > 0.190 - ours["ndcg10_se"]
    ratios = found["ratios"]
    assert ratios["ndcg10"][ratios["best_peer"]] >= 1.15
    assert ratios["ndcg10"]["als"] >= 1.6
