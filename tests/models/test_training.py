from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

from models import registry
from models.card import CARD
from models.classifier import Classifier
from models.curves import LOGS
from models.plots import CALIBRATION, CONFUSION

COMMAND = [sys.executable, "-c", "from streams.cli import main; main()", "train", "sentiment"]
PRAISE = ("clear", "wonderful", "well made", "worth every hour", "my best course")
BLAME = ("confusing", "terrible", "badly made", "a waste of time", "my worst course")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)


def test_own_comments_become_a_model_that_serves(tmp_path: Path, trunk: Path) -> None:
    rows = [
        (f"Lesson {i} was {words[i % 5]}", label)
        for i in range(60)
        for words, label in ((PRAISE, "positive"), (BLAME, "negative"))
    ]
    comments, out = tmp_path / "own.csv", tmp_path / "model"
    with comments.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([("text", "label"), *rows])

    ended = run(
        "--data", str(comments), "--out", str(out), "--epochs", "6", "--threads", "1", "--json"
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    manifest = registry.read_manifest(out)
    assert report["model_version"] == manifest.version
    assert report["scores"]["own.csv"]["accuracy"] >= 0.9
    assert report["majority"]["own.csv"]["accuracy"] < 0.8
    assert "own.csv" in report["before"]
    assert list(report["data"]) == ["own.csv"]
    card = (out / CARD).read_text(encoding="utf-8")
    assert "your own comments" in card
    assert all(name in card and (out / name).exists() for name in (CONFUSION, CALIBRATION))
    assert list((out / LOGS).glob("events.out.tfevents.*")), "TensorBoard has its log"
    labels = [p.label for p in Classifier(trunk, out, threads=1).predict(["a terrible lesson"])]
    assert labels == ["negative"]


def test_mistakes_are_one_line_and_exit_2(tmp_path: Path) -> None:
    a_file = tmp_path / "file"
    a_file.write_text("text,label\ngood,positive\nbad,negative\n")
    for arguments, expected in (
        (("--data", str(tmp_path / "nowhere")), "does not exist"),
        (("--data", str(tmp_path)), "none of the known sets"),
        (("--data", str(a_file), "--out", str(a_file)), "cannot be written"),
    ):
        ended = run(*arguments)
        assert ended.returncode == 2
        assert expected in ended.stderr.splitlines()[-1]
        assert "Traceback" not in ended.stderr
