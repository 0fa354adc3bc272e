"""`springtide train factors|baseline`: from a file, from ClickHouse, and into a running worker."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.settings import UserError
from infra.warehouse import Warehouse, migrate
from online.checkpoint import CheckpointStore
from online.learner import Learner, LearnerConfig
from streams.cli import load
from streams.history import from_clickhouse
from streams.warm_start import WarmStart

pytest.importorskip("implicit", reason="the extra `evaluate` is not installed")


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    """Thirty users in two circles; low ratings and a row without an item."""
    rows = ["who,what,stars"]
    for user in range(30):
        rows += [f"u{user},i{(user % 2) * 10 + (user + n) % 10},5" for n in range(6)]
        rows.append(f"u{user},hated,1")
    file = tmp_path / "ratings.csv"
    file.write_text("\n".join([*rows, "u0,,5"]))
    return file


def trained(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    load("train").main(args=[*arguments, "--json"], standalone_mode=False)
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def factors(capsys: pytest.CaptureFixture[str], ratings: Path, out: Path, *more: str) -> Any:
    columns = ("--map", "user=who,item=what", "--rating", "stars", "--min-rating", "4")
    return trained(
        capsys, "factors", "--data", str(ratings), *columns, "--out", str(out), "--epochs", "3",
        *more,
    )  # fmt: skip


def a_river(**tenants: Learner) -> Any:
    """What a warm start needs of a worker: its learners."""
    return SimpleNamespace(
        learner=tenants.__getitem__, admits=tenants.__contains__, learners=tenants
    )


def test_a_running_learner_takes_new_versions_over(
    ratings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "factors"
    learner = Learner(LearnerConfig(factors=8))
    part = WarmStart(a_river(default=learner), str(out))
    files = CheckpointStore(str(out))
    assert asyncio.run(part.look(files)) == 0, "nothing is there yet"
    told = factors(capsys, ratings, out, "--factors", "8", "--model", "bpr")
    assert (told["model"], told["items"], told["users"], told["events"]) == ("bpr", 20, 30, 180)
    assert asyncio.run(part.look(files)) == 20
    assert asyncio.run(part.look(files)) == 0, "once is enough"
    again = factors(capsys, ratings, out, "--factors", "8")
    assert again["version"] > told["version"]
    assert asyncio.run(part.look(files)) == 20
    assert part.version == again["version"]


def test_embeddings_begin_anew_once_a_version(
    ratings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, taken = tmp_path / "factors", tmp_path / "taken"
    told = factors(capsys, ratings, out, "--factors", "8", "--forget")
    assert told["forget"] is True
    files, learner = CheckpointStore(str(out)), Learner(LearnerConfig(factors=8))
    assert asyncio.run(WarmStart(a_river(default=learner), str(out), taken).look(files)) == 20
    restarted = WarmStart(a_river(default=learner), str(out), taken)
    assert asyncio.run(restarted.look(files)) == 0, "what was learned since the night stays"
    factors(capsys, ratings, out, "--factors", "8", "--forget")
    assert asyncio.run(restarted.look(files)) == 20


def test_a_width_that_differs_is_told_and_the_worker_goes_on(
    ratings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "factors"
    factors(capsys, ratings, out, "--factors", "8")
    learner = Learner(LearnerConfig(factors=16))
    part = WarmStart(a_river(default=learner), str(out))
    assert asyncio.run(part.look(CheckpointStore(str(out)))) == 0
    assert "--factors 16" in capsys.readouterr().out
    assert learner.items == 0


def test_one_source_has_to_be_named(ratings: Path) -> None:
    for arguments in ([], ["--data", str(ratings), "--from-clickhouse"]):
        with pytest.raises(UserError, match="--data, or say --from-clickhouse"):
            load("train").main(args=["factors", *arguments], standalone_mode=False)


@pytest.mark.kafka
def test_history_from_clickhouse_is_summed_and_complaints_do_not_count(
    stack: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Warehouse(stack.clickhouse_url)
    name = f"test_{uuid.uuid4().hex[:12]}"
    url = stack.clickhouse_url.rpartition("/")[0] + "/" + name
    migrate(url)
    warehouse = Warehouse(url)
    seen = [("a", "x", 0), ("a", "x", 1), ("a", "y", 4), ("b", "y", 2), ("b", "x", 3)]
    users, items, kinds = (list(column) for column in zip(*seen, strict=True))
    n, now = len(seen), datetime.now(UTC)
    rows = {
        "tenant": ["default"] * n, "id": [str(k) for k in range(n)], "type": ["click"] * n,
        "user_key": users, "item_id": items, "kind": kinds, "occurred_at": [now] * n,
        "received_at": [now] * n, "offset": list(range(n)),
        "topic": ["clicks.v1"] * n, "partition": [0] * n,
    }  # fmt: skip
    warehouse.insert("interactions", rows, "")
    found = from_clickhouse(warehouse, "default")
    pairs = {
        found.item_ids[i] + str(u): w
        for u, i, w in zip(found.user.tolist(), found.item.tolist(), found.weight, strict=True)
    }
    assert pairs == {"x0": 3.0, "y1": 2.0, "x1": 1.0}
    assert found.events == 4
    with pytest.raises(UserError, match="no interaction"):
        from_clickhouse(warehouse, "nobody")
    monkeypatch.setenv("SPRINGTIDE_CLICKHOUSE_URL", url)
    told = trained(capsys, "factors", "--from-clickhouse", "--out", str(tmp_path), "--factors", "4")
    assert (told["source"], told["users"], told["items"]) == ("clickhouse", 2, 2)
    warehouse.close()
    base.query(f"DROP DATABASE {name}")
    base.close()


def test_a_baseline_reports_itself_beside_popularity(
    ratings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = trained(
        capsys, "baseline", "--data", str(ratings), "--map", "user=who,item=what", "--model", "mlp",
        "--loss", "cross-entropy", "--out", str(tmp_path / "mlp"), "--factors", "8",
        "--epochs", "2",
    )  # fmt: skip
    assert set(told["methods"]) == {"mlp", "popularity"}
    assert set(told["methods"]["mlp"]) == {"hr10", "ndcg10"}
    assert (tmp_path / "mlp" / "ranker.safetensors").is_file()
    few = tmp_path / "few.csv"
    few.write_text("user,item\na,x\nb,y\n")
    with pytest.raises(UserError, match="three different items"):
        load("train").main(args=["baseline", "--data", str(few)], standalone_mode=False)
