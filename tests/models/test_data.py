from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from models import data
from models.data import (
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    SOURCES,
    LabelledSet,
    fingerprint,
    in_test_part,
    label_reading,
    load_sets,
    read_file,
)
from models.errors import DataError


def write(
    path: Path, rows: list[tuple[str, str]], header: tuple[str, str] = ("text", "label")
) -> Path:
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([header, *rows])
    return path


def test_the_split_follows_the_text_not_the_order(tmp_path: Path) -> None:
    rows = [(f"comment number {i}", ("negative", "neutral", "positive")[i % 3]) for i in range(600)]
    one = read_file(write(tmp_path / "a.csv", rows))
    other = read_file(write(tmp_path / "b.csv", rows[::-1]))

    assert {c.text for c in one.test} == {c.text for c in other.test}
    assert 30 <= len(one.test) <= 100
    assert not {c.text for c in one.test} & {c.text for c in one.train}
    assert not one.two_class


def test_rows_with_nothing_to_read_are_left_out(tmp_path: Path) -> None:
    kept = [(f"book {i}", ("neg", "pos")[i % 2]) for i in range(60)]
    rows = [*kept, ("", "neg"), ("😀", "pos"), ("no label", ""), ("nor here", " ")]
    found = read_file(write(tmp_path / "a.csv", rows))
    assert {c.text for c in (*found.train, *found.test)} == {text for text, _ in kept}


def test_no_text_is_on_both_sides_however_it_is_written(tmp_path: Path) -> None:
    rows = [
        (form.format(i), ("neg", "pos")[i % 2])
        for i in range(200)
        for form in (
            "Lesson {}, good",
            "LESSON {}, good",
            "ｌesson {}, good",
            "lesson\t{}, goo\u200bd",
        )
    ]
    found = read_file(write(tmp_path / "a.csv", rows))
    held_out = {c.text.casefold() for c in found.test}
    assert len(held_out) > 40
    assert not held_out & {c.text.casefold() for c in found.train}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("pos", "pos"), "no negative row"),
        (("neu", "neg"), "no positive row"),
        (("1", "2"), "in two ways"),
    ],
)
def test_a_file_that_teaches_no_side_or_does_not_say_which_is_refused(
    tmp_path: Path, labels: tuple[str, str], expected: str
) -> None:
    rows = [(f"comment {i}", labels[i % 2]) for i in range(90)]
    with pytest.raises(DataError, match=expected):
        read_file(write(tmp_path / "a.csv", rows))


def test_a_file_without_a_test_row_is_refused_before_the_training(tmp_path: Path) -> None:
    texts = [text for text in map(str, range(90)) if not in_test_part(text, 0.1)]
    rows = [(text, ("neg", "pos")[at % 2]) for at, text in enumerate(texts[:4])]
    with pytest.raises(DataError, match="none of its 4 rows is a test row"):
        read_file(write(tmp_path / "a.csv", rows))


def test_a_gzip_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8-sig") as lines:
        lines.write("text,label\n" + "".join(f"text {i},{i % 2}\n" for i in range(50)))
    assert read_file(path).two_class


@pytest.mark.parametrize(
    ("labels", "first", "last"),
    [
        ({"0", "1"}, ("0", NEGATIVE), ("1", POSITIVE)),
        ({"0", "1", "2"}, ("1", NEUTRAL), ("2", POSITIVE)),
        ({"-1", "0", "1"}, ("-1", NEGATIVE), ("0", NEUTRAL)),
        ({"0.0", "1.0", "2.0"}, ("0.0", NEGATIVE), ("1.0", NEUTRAL)),
        ({"Negative", " neu", "POS"}, ("Negative", NEGATIVE), (" neu", NEUTRAL)),
    ],
)
def test_labels_are_read_in_every_usual_form(
    labels: set[str], first: tuple[str, int], last: tuple[str, int]
) -> None:
    reading = label_reading(labels)
    assert reading(first[0]) == first[1]
    assert reading(last[0]) == last[1]


@pytest.mark.parametrize("rows", [[("a", "5")], [("a", "good")], []])
def test_labels_nobody_understands_are_an_error(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    with pytest.raises(DataError):
        read_file(write(tmp_path / "a.csv", rows))


def test_a_file_of_a_known_set_is_split_as_that_set_is(tmp_path: Path) -> None:
    folder = tmp_path / "sent-zh-htl"
    folder.mkdir()
    path = folder / "reviews.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.write("text,label\n" + "".join(f"text {i},{i % 2}\n" for i in range(400)))
    (found,) = load_sets(path)
    assert (found.name, found.two_class) == (folder.name, True)
    assert not [row for row in found.train if in_test_part(row.text, data.test_share(path))]
    assert fingerprint(found.train) == fingerprint(load_sets(tmp_path)[0].train)
    assert fingerprint(found.train) != fingerprint(found.train[1:])


def test_missing_columns_files_and_sets_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'label'"):
        read_file(write(tmp_path / "a.csv", [("a", "b")], header=("text", "stars")))
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(gzip.compress(b"text,label\n" + b"good,1\n" * 5_000)[:30] + b"\xff" * 99)
    with pytest.raises(DataError, match="cannot be read"):
        read_file(broken)
    with pytest.raises(DataError, match="does not exist"):
        load_sets(tmp_path / "nowhere")
    with pytest.raises(DataError, match="none of the known sets"):
        load_sets(tmp_path)
    with pytest.raises(DataError, match="unknown set 'sent-xx'"):
        load_sets(tmp_path, without=["sent-xx"])


@pytest.mark.data
def test_known_sets_share_no_text_between_training_and_any_test(
    known_sets: list[LabelledSet],
) -> None:
    sets = known_sets

    assert [each.name for each in sets] == list(SOURCES)
    held_out = {comment.text.casefold() for each in sets for comment in each.test}
    trained = {comment.text.casefold() for each in sets for comment in each.train}
    assert not held_out & trained
    # Of sst2 the makers' split leaves 764 phrases that stand in no training text.
    sizes = {each.name: len(each.test) for each in sets}
    assert sizes.pop("sent-en-sst2") == 764
    assert all(size >= 1_000 for size in sizes.values())
    two_class = {each.name for each in sets if each.two_class}
    assert two_class == {"sent-zh-shopping10", "sent-zh-htl", "sent-en-sst2"}


@pytest.mark.data
def test_a_set_left_out_leaves_no_row(shared_dir: Path) -> None:
    others = [name for name in SOURCES if name not in {"sent-en-tweet3", "sent-zh-htl"}]
    names = [each.name for each in load_sets(shared_dir / "data", others)]
    assert names == ["sent-zh-htl", "sent-en-tweet3"]
