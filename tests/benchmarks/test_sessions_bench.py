"""DIGINETICA, the ADER protocol, every prefix: the figures that we promise (minutes)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.data
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("mode", "recall20", "mrr20"), [("frozen", 0.516, 0.186), ("day", 0.533, 0.190)]
)
def test_sessions_are_foreseen_as_promised(
    shared_dir: Path, mode: str, recall20: float, mrr20: float
) -> None:
    data = shared_dir / "data" / "rec-ader-diginetica" / "events.csv.gz"
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "evaluate", "sessions", "--data", str(data),
         "--mode", mode, "--json"],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)["methods"]["springtide"]
    assert found["recall20"] >= recall20, found
    assert found["mrr20"] >= mrr20, found
