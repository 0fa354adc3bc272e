"""`springtide evaluate lists --items`: items that say what they are."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.settings import UserError
from streams.cli import load
from streams.lists_items import ItemColumns, chosen_vectors, read_items, spoken

pytestmark = pytest.mark.usefixtures("data_dir")
THEMES = [f"theme{n}" for n in range(40)]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A catalogue that grows, of many themes, and users who keep to one each."""
    rng = np.random.default_rng(0)
    stream, items = tmp_path / "stream.csv", tmp_path / "items.csv"
    with items.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["item_id", "title", "topics"])
        for item in range(1_600):
            theme = THEMES[item % 40]
            rows.writerow([f"i{item}", f"{theme} lesson {item}", f"{theme}|{theme}-{item % 80}"])
    with stream.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["user_id", "item_id", "timestamp"])
        for event in range(4_000):
            user, newest = int(rng.integers(200)), 40 + event * 1_520 // 4_000
            item = int(rng.integers(max(0, newest - 400), newest)) // 40 * 40 + user % 40
            rows.writerow([f"u{user}", f"i{item}", event])
    return stream, items


def test_what_items_say_helps_those_that_few_have_taken(
    files: tuple[Path, Path], evaluated: Any
) -> None:
    stream, items = files
    found = evaluated(
        "lists", "--data", str(stream), "--items", str(items), "--item-tags", "topics",
        "--item-vectors", "tfidf,none", "--peers", "none",
    )  # fmt: skip
    methods = found["methods"]
    assert list(methods) == ["springtide", "springtide:none", "popularity"]
    young = {name: method["by_item_events"]["1-4"] for name, method in methods.items()}
    assert young["springtide"]["ndcg10"] > 1.05 * young["springtide:none"]["ndcg10"]
    assert methods["springtide"]["by_item_events"]["0"]["hr10"] == 0  # published with their event
    assert found["ratios"]["best_peer"] == "popularity"
    plain = evaluated("lists", "--data", str(stream), "--peers", "none")["methods"]["springtide"]
    assert plain["last_half"] == methods["springtide:none"]["last_half"]


def test_in_an_open_catalogue_the_first_event_of_an_item_can_be_foreseen(
    files: tuple[Path, Path], evaluated: Any
) -> None:
    stream, items = files
    found = evaluated(
        "lists", "--data", str(stream), "--items", str(items), "--item-text", "title",
        "--item-tags", "topics", "--item-vectors", "tfidf", "--catalogue", "open",
    )  # fmt: skip
    ours = found["methods"]["springtide"]["by_item_events"]["0"]
    assert ours["n"] > 50
    assert ours["hr10"] > found["methods"]["popularity"]["by_item_events"]["0"]["hr10"] == 0


def test_embeddings_are_made_once_and_a_table_names_every_variant(
    files: tuple[Path, Path], data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream, items = files
    few = items.with_name("few.csv")
    few.write_text("\n".join(items.read_text("utf-8").splitlines()[:41]), "utf-8")
    arguments = [
        "lists", "--data", str(stream), "--limit", "600", "--peers", "none",
        "--items", str(few), "--item-text", "title", "--item-vectors", "both,raw",
    ]  # fmt: skip
    load("evaluate").main(args=arguments, standalone_mode=False)
    first = capsys.readouterr()
    assert "embedding items" in first.err
    assert "\nspringtide:raw " in first.out
    (kept,) = (data_dir / "evaluations").glob("embeddings-*.npy")
    assert np.load(kept, allow_pickle=False).shape == (40, 384)
    load("evaluate").main(args=arguments, standalone_mode=False)
    second = capsys.readouterr()
    assert "embedding items" not in second.err
    assert second.out.split("µs/list")[1].split()[:6] == first.out.split("µs/list")[1].split()[:6]


def test_items_as_the_file_has_them(tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    rows = [
        {"sku": "a", "title": "One", "topics": ["x", "y-z"], "level": None},
        {"sku": "b", "title": None, "topics": "x|", "level": "2"},
        {"sku": "", "title": "nobody's"},
        {"sku": "a", "title": "Once more", "topics": ["x"]},
    ]
    file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    found = read_items(file, ItemColumns(("title",), ("topics", "level")), None)
    assert found.ids == ["a", "b"]
    assert [len(terms) for terms in found.terms] == [3, 2]
    assert spoken("One", ["topics=x", "topics=y-z"]) == "One. x, y z"
    assert spoken("", ["level=2"]) == "2"


def test_what_cannot_be_used_is_one_line(files: tuple[Path, Path]) -> None:
    stream, items = files
    for arguments, message in (
        (["--item-text", "title"], "need --items"),
        (["--items", str(items)], "say what to read"),
        (["--items", str(items), "--item-tags", "nothing"], "--item-tags nothing: no such column"),
        (
            ["--items", str(items), "--item-tags", "topics", "--item-vectors", "best"],
            "there are all",
        ),
    ):
        with pytest.raises(UserError, match=message):
            load("evaluate").main(
                args=["lists", "--data", str(stream), *arguments], standalone_mode=False
            )
    assert chosen_vectors("all")[0] == "both"
