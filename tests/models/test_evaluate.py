from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    classification_report,
    confusion_matrix,
    f1_score,
    roc_auc_score,
)

from models import registry
from models.data import NEGATIVE, POSITIVE, Comment, outside
from models.measures import (
    area,
    best_labels,
    calibration_error,
    confusion,
    per_label,
    quality,
    reliability,
    score,
    standard_errors,
    topic_quality,
)
from models.plots import CALIBRATION, CONFUSION, draw
from models.session import Session
from streams.cli import load
from tests.models import small

PNG = b"\x89PNG"
COMMAND = [sys.executable, "-c", "from streams.cli import main; main()", "evaluate", "sentiment"]
pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


@given(pairs)
def test_macro_f1_is_that_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    truth, found = np.array(rows).T
    expected = f1_score(truth, found, average="macro", labels=[0, 1, 2], zero_division=0)
    assert score(truth, found, two_class=False).macro_f1 == pytest.approx(expected, abs=1e-4)


@given(pairs)
def test_the_report_by_label_is_that_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    truth, found = np.array(rows).T
    labels = list(enumerate("abc"))
    expected = classification_report(
        truth, found, labels=[0, 1, 2], target_names=list("abc"), output_dict=True, zero_division=0
    )
    for name, each in per_label(truth, found, labels).items():
        row = expected[name]
        assert each.precision == pytest.approx(row["precision"])
        assert each.recall == pytest.approx(row["recall"])
        assert each.f1 == pytest.approx(row["f1-score"])
        assert each.rows == row["support"]
    np.testing.assert_array_equal(
        confusion(truth, found, [0, 1, 2]), confusion_matrix(truth, found, labels=[0, 1, 2])
    )


def test_standard_errors_are_those_of_a_share() -> None:
    accuracy_se, macro_f1_se = standard_errors(np.array([[400, 100], [100, 400]]))
    assert accuracy_se == pytest.approx((0.8 * 0.2 / 1000) ** 0.5, rel=0.15)
    assert macro_f1_se == pytest.approx(accuracy_se, rel=0.2)


def test_topics_have_every_measure_but_the_auc() -> None:
    shares = np.array([[0.8, 0.1, 0.1], [0.2, 0.2, 0.6]])
    found = topic_quality(np.array([0, 1]), shares, ("sports", "politics", "science"))
    assert (found.accuracy, found.confusion) == (0.5, [[1, 0, 0], [0, 0, 1], [0, 0, 0]])
    assert np.isnan(found.auc)
    assert found.labels["politics"].recall == 0


def test_a_test_phrase_inside_a_training_sentence_is_no_test() -> None:
    train = [Comment("A gripping, well made film", POSITIVE)]
    test = [Comment("well Made", POSITIVE), Comment("made well", POSITIVE)]
    assert outside(test, train) == (test[1],)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=60))
def test_area_is_that_of_scikit_learn_ties_included(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([value for value, _ in rows], float)
    positive = np.array([hit for _, hit in rows])
    if positive.all() or not positive.any():
        assert np.isnan(area(scores, positive))
    else:
        assert area(scores, positive) == pytest.approx(roc_auc_score(positive, scores))


def test_a_two_class_set_never_finds_neutral() -> None:
    shares = np.array([[0.2, 0.7, 0.1], [0.1, 0.6, 0.3]])
    assert best_labels(shares, two_class=True).tolist() == [NEGATIVE, POSITIVE]
    found = quality(np.array([NEGATIVE, POSITIVE]), shares, two_class=True)
    assert (found.accuracy, found.macro_f1, found.auc) == (1.0, 1.0, 1.0)
    # 2/3 and 3/4 sure of what is right every time.
    assert found.ece == pytest.approx((1 / 3 + 1 / 4) / 2, abs=1e-3)


def test_calibration_error_is_nothing_where_confidence_is_the_share_of_hits() -> None:
    confidence = np.full(100, 0.75)
    for hits, gap in ((75, 0.0), (25, 0.5)):
        bins = reliability(confidence, np.arange(100) < hits)
        assert bins[0][1:] == (hits / 100, 100)
        assert calibration_error(bins) == pytest.approx(gap)


def test_a_file_of_ones_own_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows(
            [
                ("body", "stars"),
                ("A wonderful course, clear and well made", "5.0"),
                ("Terrible, a waste of money", "1"),
                ("", "4"),
                ("太差了，浪费钱", "2"),
                ("no stars given", ""),
            ]
        )
    arguments = ["--data", str(path), "--text", "body", "--label", "stars", "--stars", "--json"]
    ended = subprocess.run(
        [*COMMAND, *arguments, "--threads", "1"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert (found["rows"], found["skipped"]) == (3, 2)
    springtide = found["methods"]["springtide"]
    assert springtide["accuracy"] == 1.0
    assert springtide["labels"]["negative"]["rows"] == 2
    assert springtide["confusion"] == [[2, 0], [0, 1]]


def test_rows_that_it_was_trained_on_are_counted(
    tmp_path: Path,
    small_trunk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("models.trunk.trunk_folder", lambda cache: small_trunk)
    artifact = small.written(Session(small_trunk, small.ROWS, "head"), small_trunk, tmp_path / "m")
    manifest = registry.read_manifest(artifact)
    path = tmp_path / "own.csv"
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows(
            [("text", "label"), *((row.text, row.label // 2) for row in small.ROWS)]
        )

    def told(*arguments: str) -> tuple[int, int]:
        command = ["sentiment", "--data", str(path), "--model", str(artifact), "--json", *arguments]
        load("evaluate").main(args=command, standalone_mode=False)
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found["rows"], found["trained_on"]

    assert told() == (60, 0)
    registry.write_manifest(
        artifact, msgspec.structs.replace(manifest, trained_rows={"own.csv": 1})
    )
    tests, shown = told("--split", "test")
    assert 0 < tests < 20 and shown == 0
    assert told() == (60, 60 - tests)
    assert told("--split", "train") == (60 - tests, 60 - tests)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text("body,stars\nfine,5\n")
    ended = subprocess.run(
        [*COMMAND, "--data", str(path)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "no column 'text' for text; the file has 'body', 'stars'" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_plots_show_every_set(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    truth, shares = generator.integers(0, 3, 90), generator.dirichlet((1, 1, 1), 90)
    outer = truth != 1
    measured = {
        "three": quality(truth, shares, two_class=False),
        "two": quality(truth[outer], shares[outer], two_class=True),
    }
    drawn = draw(tmp_path, measured)
    assert [path.name for path in drawn] == [CONFUSION, CALIBRATION]
    assert all(path.read_bytes().startswith(PNG) for path in drawn)
