"""`springtide evaluate new-users`: what interests bring where nothing else is known."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from infra.settings import UserError
from online.prequential_new_users import Oracle
from online.prequential_stream import StreamBuilder
from streams.cli import load


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Users who keep to one of twenty themes, most for a few events only; the options."""
    rng = np.random.default_rng(0)
    stream, items = tmp_path / "stream.csv", tmp_path / "items.csv"
    with items.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["item_id", "title", "topics"])
        rows.writerows([f"i{i}", f"lesson {i}", f"theme{i % 20}|all"] for i in range(200))
    with stream.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["user_id", "item_id"])
        for event in range(2_000):
            user = max(0, event // 4 - int(rng.exponential(3)))
            rows.writerow([f"u{user}", f"i{int(rng.integers(10)) * 20 + user % 20}"])
    return [
        "new-users", "--data", str(stream), "--items", str(items), "--item-text", "title",
        "--item-tags", "topics", "--item-vectors", "tfidf",
    ]  # fmt: skip


def test_interests_make_the_first_list_better(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    load("evaluate").main(args=[*files, "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    first = found["by_earlier_events"]["0"]
    assert first["n"] > 100
    assert first["methods"]["with"]["ndcg10"] > 2 * first["methods"]["popularity"]["ndcg10"]
    assert found["first_event_ratio"]["popularity"] > 2
    assert "after the event" in found["oracle"]
    load("evaluate").main(args=files, standalone_mode=False)
    shown = capsys.readouterr().out
    assert "oracle" in shown
    assert "times popularity's" in shown


def test_the_oracle_never_looks_at_what_is_ranked() -> None:
    builder = StreamBuilder()
    for item in "abc":
        builder.add("u", item, 0.0)
    tags = [["ta"], ["tb"], ["tc", "tc"], *([[]] * 27)]
    oracle = Oracle(builder.build(), tags, 3, 0)
    assert sorted(oracle.interests(0, 0)) == ["tb", "tc"]
    assert oracle.interests(0, 1) == ["tc"]
    assert oracle.interests(0, 2) == []


def test_what_cannot_be_declared_is_said(files: list[str]) -> None:
    for more, said in (
        (["--interests", "colour"], "no such column"),
        (["--item-vectors", "tfidf,none"], "one at a time"),
    ):
        with pytest.raises(UserError, match=said):
            load("evaluate").main(args=[*files, *more], standalone_mode=False)
