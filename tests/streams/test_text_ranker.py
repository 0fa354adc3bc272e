"""`springtide train text-ranker`, its gate, and its vectors in `evaluate lists`; a real trunk."""

from __future__ import annotations

import csv
import json
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from infra.settings import UserError
from infra.warehouse import Warehouse, migrate
from models import versions
from models.text_ranker.plan import Plan
from streams import text_ranker_run
from streams.cli import load
from streams.text_ranker_history import Told, from_clickhouse

THEMES = ("painting", "python", "marketing", "guitar", "yoga")
COLUMNS = ("--item-text", "title", "--item-tags", "level")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that name a catalogue of five themes and 60 users who keep to one each."""
    monkeypatch.setenv("SPRINGTIDE_DATA_DIR", str(tmp_path / "data"))
    rng = np.random.default_rng(0)
    stream, items = tmp_path / "stream.csv", tmp_path / "items.csv"
    with items.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["item_id", "title", "level"])
        rows.writerows([f"i{n}", f"{THEMES[n % 5]} lesson {n}", "all|beginner"] for n in range(100))
    with stream.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["user_id", "item_id", "timestamp"])
        for event in range(600):
            user, newest = int(rng.integers(60)), 20 + event * 80 // 600
            rows.writerow([f"u{user}", f"i{int(rng.integers(newest)) // 5 * 5 + user % 5}", event])
    return ["--data", str(stream), "--items", str(items)]


def told(capsys: pytest.CaptureFixture[str], group: str, *arguments: str) -> dict[str, Any]:
    load(group).main(args=[*arguments, "--json"], standalone_mode=False)
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_a_ranker_is_trained_measured_tried_in_the_lists_and_promoted_if_they_get_better(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, kept = tmp_path / "ranker", tmp_path / "rankers"
    made = told(
        capsys, "train", "text-ranker", *files, *COLUMNS, "--out", str(out), "--share", "0.6",
        "--layers", "1", "--passes", "2", "--threads", "1",
    )  # fmt: skip
    assert made["version"].startswith("text-ranker-")
    assert made["passes"] in {1, 2}
    assert set(made["report"]) == {"all", "new in training", "no event yet"}
    measured = made["report"]["all"]
    assert list(measured) == ["tfidf", "frozen", "tfidf+frozen", "text-ranker", "tfidf+text-ranker"]
    assert all(0.5 < each["recall50"] <= 1 for each in measured.values())
    assert sum(f.stat().st_size for f in out.glob("*.safetensors")) < 3_000_000
    assert list((out / "tensorboard").iterdir())
    found = told(
        capsys, "evaluate", "lists", *files, *COLUMNS, "--text-ranker", str(out), "--peers", "none"
    )
    assert list(found["methods"]) == ["springtide", "springtide:text-ranker", "popularity"]
    arguments = ["text-ranker", str(out), *files, *COLUMNS, "--promote", str(kept), "--json"]
    ended = load("evaluate").main(args=arguments, standalone_mode=False)
    gate = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert gate["events"] == gate["all"]["n"] == pytest.approx(0.15 * 0.6 * 600, abs=20)
    assert gate["rises"] is gate["promoted"] is (kept / "pointer.json").exists() is (ended != 1)
    versions.promote(kept, str(out))
    (row,) = told(capsys, "models", "list", "--registry", str(kept))["versions"]
    assert (row["version"], row["role"]) == (made["version"], "current")
    assert row["trained_pairs"] == made["pairs"]
    load("models").main(args=["list", "--registry", str(kept)], standalone_mode=False)
    assert "recall@50" in capsys.readouterr().out


@pytest.mark.kafka
def test_what_users_took_is_read_from_clickhouse_once_each_and_complaints_are_left_out(
    stack: Any, tmp_path: Path
) -> None:
    name = f"test_{uuid.uuid4().hex[:12]}"
    url = stack.clickhouse_url.rpartition("/")[0] + "/" + name
    migrate(url)
    seen = [("b", "i1", 0, 5), ("a", "i1", 1, 3), ("a", "i1", 0, 1), ("a", "i2", 2, 4),
            ("b", "i2", 4, 6), ("b", "i9", 0, 7)]  # fmt: skip
    users, items, kinds, seconds = (list(column) for column in zip(*seen, strict=True))
    n, since = len(seen), int(time.time())
    times = [datetime.fromtimestamp(since + each, UTC) for each in seconds]
    rows = {
        "tenant": ["default"] * n, "id": [str(k) for k in range(n)], "type": ["click"] * n,
        "user_key": users, "item_id": items, "kind": kinds, "occurred_at": times,
        "received_at": times, "offset": list(range(n)),
        "topic": ["clicks.v1"] * n, "partition": [0] * n,
    }  # fmt: skip
    with closing(Warehouse(url)) as warehouse:
        warehouse.insert("interactions", rows, "")
        stream = from_clickhouse(warehouse, "default")
        with pytest.raises(UserError, match="no interaction"):
            from_clickhouse(warehouse, "nobody")
        warehouse.query(f"DROP DATABASE {name}")
    taken = zip(stream.users, stream.items, stream.times, strict=True)
    assert [(stream.user_ids[u], stream.item_ids[i], t - since) for u, i, t in taken] == [
        ("a", "i1", 1), ("a", "i2", 4), ("b", "i1", 5), ("b", "i9", 7),
    ]  # fmt: skip


def test_a_run_does_not_go_on_with_another_share_or_trunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = []

    def stopped(*arguments: Any) -> None:
        marks.append(arguments[5])
        raise KeyboardInterrupt

    monkeypatch.setattr(text_ranker_run, "ItemTower", lambda *_: SimpleNamespace(frozen=Tensor()))
    monkeypatch.setattr(text_ranker_run, "half_whitened", lambda *_: None)
    monkeypatch.setattr(text_ranker_run, "train", stopped)
    users, items = np.arange(400) % 20, np.arange(400) // 20
    told = Told(users, items, items.astype(float), [""] * 20, SimpleNamespace(scripts=None), 0)
    for trunk, share in (("a", 0.8), ("a", 0.5), ("b", 0.5), ("a", 0.8)):
        with pytest.raises(KeyboardInterrupt):
            text_ranker_run.run(told, Path(trunk), Plan(), share, tmp_path, lambda *_: None)
    assert len(set(marks)) == 3
    assert marks[0] == marks[3]
    with pytest.raises(UserError, match="no user met two items"):
        text_ranker_run.run(told, Path("a"), Plan(), 0.05, tmp_path, lambda *_: None)


def test_what_cannot_be_trained_on_is_told(files: list[str], tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "out"))
    few = tmp_path / "few.csv"
    few.write_text("user,item\na,i1\nb,i2\n")
    for arguments, match in (
        ([*files, "--from-clickhouse"], "--data, or say --from-clickhouse"),
        ([*files, "--item-text", ""], "--item-text"),
        (["--data", str(few), *files[2:]], "too few users"),
    ):
        with pytest.raises(UserError, match=match):
            load("train").main(args=["text-ranker", *arguments, *out], standalone_mode=False)
    with pytest.raises(UserError, match="train text-ranker"):
        load("evaluate").main(
            args=["text-ranker", str(tmp_path / "none"), *files], standalone_mode=False
        )
    with pytest.raises(UserError, match="--item-text"):
        load("evaluate").main(
            args=["lists", *files, "--item-tags", "level", "--text-ranker", str(tmp_path)],
            standalone_mode=False,
        )
