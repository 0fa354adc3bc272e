"""`springtide evaluate lists`: any file of interactions, and what it says on real ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from infra.settings import UserError
from streams.cli import load
from streams.commands.evaluate_lists import chosen_peers, read_stream


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Run the command in this process; its JSON object."""
    load("evaluate").main(args=["lists", *arguments, "--json"], standalone_mode=False)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    """Six rows: a low rating, a repeat, and one without a user."""
    file = tmp_path / "ratings.csv.gz"
    rows = ["who,what,stars,at", "u,a,5,1", "u,b,2,2", "v,a,4,3", "u,a,5,4", ",a,5,5", "v,c,5,x"]
    file.write_bytes(gzip.compress("\n".join(rows).encode()))
    return file


def test_filters_come_first_then_repeats_then_the_limit(ratings: Path) -> None:
    columns = "user=who,item=what,time=at"
    for minimum, limit, expected in (
        (None, 0, ["ua", "ub", "va", "vc"]),
        (4.0, 0, ["ua", "va", "vc"]),
        (4.0, 2, ["ua", "va"]),
        (None, 3, ["ua", "ub", "va"]),
    ):
        stream, skipped = read_stream(ratings, columns, "stars", minimum, limit, False)
        pairs = zip(stream.users, stream.items, strict=True)
        assert [stream.user_ids[u] + stream.item_ids[i] for u, i in pairs] == expected
        assert skipped == (0 if limit else 1)


def test_json_is_one_object_and_the_rest_goes_to_stderr(
    ratings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(
        capsys, "--data", str(ratings), "--map", "user=who,item=what,time=at", "--repeat"
    )
    assert found["events"] == 5
    assert found["repeats"] == 1
    assert set(found["methods"]) == {"springtide", "popularity"}


def test_a_table_for_people(ratings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["lists", "--data", str(ratings), "--map", "user=who,item=what", "--peers", "all"]
    load("evaluate").main(args=arguments, standalone_mode=False)
    printed = capsys.readouterr().out
    assert "decayed-popularity" in printed
    assert "1 repeats" in printed


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ("none", ["popularity"]),
        ("decayed-popularity", ["popularity", "decayed-popularity"]),
        ("popularity", ["popularity"]),
    ],
)
def test_popularity_is_always_there(names: str, chosen: list[str]) -> None:
    assert chosen_peers(names) == chosen


def test_what_cannot_be_used_is_one_line(ratings: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-peer"):
        chosen_peers("popularity,no-such-peer")
    with pytest.raises(UserError, match="no column 'nobody'"):
        read_stream(ratings, "user=nobody,item=what", None, None, 0, False)
    with pytest.raises(UserError, match="which column is the user"):
        read_stream(ratings, "item=what", None, None, 0, False)
    with pytest.raises(UserError, match="no such file"):
        read_stream(tmp_path / "missing.csv", "", None, None, 0, False)
    with pytest.raises(UserError, match="no row"):
        load("evaluate").main(
            args=["lists", "--data", str(ratings), "--map", "user=who,item=what",
                  "--rating", "stars", "--min-rating", "9"],
            standalone_mode=False,
        )  # fmt: skip


@pytest.mark.data
def test_digital_music_is_as_good_as_the_design_asks(
    shared_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shared_dir / "data/rec-amazon-digmusic/stream.csv.gz"
    found = evaluated(capsys, "--data", str(data), "--peers", "all")["methods"]
    ours, peer = found["springtide"]["last_half"], found["decayed-popularity"]["last_half"]
    assert ours["hr10"] > 0.114 - ours["hr10_se"]
    assert ours["ndcg10"] > 0.083 - ours["ndcg10_se"]
    assert peer["ndcg10"] == pytest.approx(0.077, abs=0.001)
    assert found["popularity"]["last_half"]["ndcg10"] == pytest.approx(0.072, abs=0.001)


@pytest.mark.data
def test_films_leave_popularity_far_behind(
    shared_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shared_dir / "data/rec-ml1m-half/stream.csv.gz"
    found = evaluated(
        capsys, "--data", str(data), "--map", "user=user_id,item=item_id,time=timestamp",
        "--rating", "rating", "--min-rating", "4", "--limit", "20000",
    )["methods"]  # fmt: skip
    ours, popularity = found["springtide"]["last_half"], found["popularity"]["last_half"]
    assert ours["hr10"] > 3 * popularity["hr10"]
