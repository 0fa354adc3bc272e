"""`springtide evaluate lists`: any file of interactions, and what it says on real ones."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.settings import UserError
from online.prequential_stream import Stream, StreamBuilder
from streams.cli import load
from streams.lists_file import Filters, read_stream
from streams.lists_run import chosen_peers, left_out

pytestmark = pytest.mark.usefixtures("data_dir")


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
        stream, skipped = read_stream(ratings, Filters(columns, "stars", minimum, limit))
        pairs = zip(stream.users, stream.items, strict=True)
        assert [stream.user_ids[u] + stream.item_ids[i] for u, i in pairs] == expected
        assert skipped == (0 if limit else 1)


def test_json_is_one_object_and_the_rest_goes_to_stderr(ratings: Path, evaluated: Any) -> None:
    found = evaluated(
        "lists", "--data", str(ratings), "--map", "user=who,item=what,time=at", "--repeat"
    )
    assert found["events"] == 5
    assert found["repeats"] == 1
    assert set(found["methods"]) == {"springtide", "popularity"}


def test_a_table_for_people(ratings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["lists", "--data", str(ratings), "--map", "user=who,item=what", "--peers", "all"]
    load("evaluate").main(args=arguments, standalone_mode=False)
    printed = capsys.readouterr().out
    for name in chosen_peers("all"):
        assert f"\n{name} " in printed
    assert "1 repeats" in printed


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ("none", ["popularity"]),
        ("decayed-popularity", ["popularity", "decayed-popularity"]),
        ("popularity", ["popularity"]),
        ("ease , markov", ["popularity", "markov", "ease"]),
    ],
)
def test_popularity_is_always_there(names: str, chosen: list[str]) -> None:
    assert chosen_peers(names) == chosen


def test_what_cannot_be_used_is_one_line(ratings: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-peer"):
        chosen_peers("popularity,no-such-peer")
    with pytest.raises(UserError, match="no column 'nobody'"):
        read_stream(ratings, Filters("user=nobody,item=what"))
    with pytest.raises(UserError, match="which column is the user"):
        read_stream(ratings, Filters("item=what"))
    with pytest.raises(UserError, match="no such file"):
        read_stream(tmp_path / "missing.csv", Filters())
    with pytest.raises(UserError, match="no row"):
        load("evaluate").main(
            args=["lists", "--data", str(ratings), "--map", "user=who,item=what",
                  "--rating", "stars", "--min-rating", "9"],
            standalone_mode=False,
        )  # fmt: skip


def test_a_peer_without_room_is_left_out_or_refused_if_it_was_named() -> None:
    many = 3_000_000
    none = np.zeros(0, np.int32)
    stream = Stream(["u"], [""] * many, none, none, np.zeros(0), 0)
    found = left_out(stream, ["popularity", "item-cosine", "markov", "ease"], everything=True)
    assert list(found) == ["item-cosine", "ease"]
    with pytest.raises(UserError, match=r"item-cosine: needs 36000 GB .* leave it out"):
        left_out(stream, ["item-cosine"], everything=False)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.lists_run.LIBRARIES", ("no_such_library",))
    stream = StreamBuilder().build()
    assert left_out(stream, ["popularity", "markov"], everything=False) == {}
    with pytest.raises(UserError, match=r"als: needs no_such_library; pip install"):
        left_out(stream, ["markov", "als"], everything=True)


@pytest.mark.data
def test_digital_music_is_as_good_as_the_design_asks_and_no_peer_is_weaker(
    shared_dir: Path, evaluated: Any
) -> None:
    data = shared_dir / "data/rec-amazon-digmusic/stream.csv.gz"
    peers = "decayed-popularity,eals,item-cosine,markov,ease-fresh"
    found = evaluated("lists", "--data", str(data), "--peers", peers)
    last = {name: method["last_half"] for name, method in found["methods"].items()}
    for name, hr10, ndcg10 in (
        ("springtide", 0.114, 0.083), ("popularity", 0.097, 0.072),
        ("decayed-popularity", 0.105, 0.077), ("eals", 0.029, 0.016),
        ("item-cosine", 0.103, 0.076), ("markov", 0.102, 0.076),
        ("ease-fresh", 0.104, 0.077),
    ):  # fmt: skip
        assert last[name]["hr10"] > hr10 - last[name]["hr10_se"], name
        assert last[name]["ndcg10"] > ndcg10 - last[name]["ndcg10_se"], name
    best = found["ratios"]["best_peer"]
    assert found["ratios"]["ndcg10"][best] >= 1.03


@pytest.mark.data
def test_films_leave_popularity_far_behind(shared_dir: Path, evaluated: Any) -> None:
    data = shared_dir / "data/rec-ml1m-half/stream.csv.gz"
    found = evaluated(
        "lists", "--data", str(data), "--map", "user=user_id,item=item_id,time=timestamp",
        "--rating", "rating", "--min-rating", "4", "--limit", "20000",
    )["methods"]  # fmt: skip
    ours, popularity = found["springtide"]["last_half"], found["popularity"]["last_half"]
    assert ours["hr10"] > 3 * popularity["hr10"]
