from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.encoder import load_tokenizer
from models.layouts import Packed, Padded
from models.rarity import token_weights
from models.retrieval import first_of_each, recall_at_1

COMMAND = [sys.executable, "-c", "from streams.cli import main; main()", "evaluate", "retrieval"]


def measured(*arguments: str) -> dict[str, object]:
    ended = subprocess.run(
        [*COMMAND, *arguments, "--threads", "1", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found: dict[str, object] = json.loads(ended.stdout)
    return found


def test_the_first_rows_of_each_category_are_the_index() -> None:
    rows = [("a", "x"), ("b", "x"), ("c", "y"), ("d", "x")]
    assert first_of_each(rows, 2) == [("a", "x"), ("b", "x"), ("c", "y")]


def test_a_hit_is_the_category_of_the_nearest_row() -> None:
    index = np.eye(3, dtype=np.float32)
    queries = np.array([[0.9, 0.1, 0], [0, 0.2, 0.8], [0.6, 0.5, 0.1]], np.float32)
    assert recall_at_1(index, ["x", "y", "x"], queries, ["x", "x", "y"]) == pytest.approx(2 / 3)


def test_questions_are_found_by_meaning_across_languages(tmp_path: Path) -> None:
    files = {
        "index": [("How do I get my money back?", "refund"), ("I lost my password", "password")],
        "new": [("怎样才能退款", "refund"), ("忘记密码了怎么办", "password")],
    }
    for name, rows in files.items():
        with (tmp_path / f"{name}.csv").open("w", newline="", encoding="utf-8") as lines:
            csv.writer(lines).writerows([("text", "category"), *rows])
    index, new = (str(tmp_path / f"{name}.csv") for name in files)
    found = measured("--index", index, "--queries", new)
    assert (found["index"], found["queries"], found["categories"]) == (2, 2, 2)
    methods = found["methods"]
    assert isinstance(methods, dict)
    assert methods["springtide"]["recall_at_1"] == 1.0


@pytest.mark.data
def test_banking_questions_find_their_kind(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "faq-en-banking77"
    found = measured(
        "--index", str(folder / "train.csv.gz"), "--queries", str(folder / "test.csv.gz")
    )
    assert (found["index"], found["queries"], found["categories"]) == (770, 3_080, 77)
    methods = found["methods"]
    assert isinstance(methods, dict)
    assert methods["springtide"]["recall_at_1"] > max(0.77, methods["tfidf"]["recall_at_1"] + 0.15)


def test_rare_tokens_speak_louder_in_both_layouts(trunk: Path) -> None:
    weights = token_weights(trunk)
    assert weights is not None
    tokenizer = load_tokenizer(trunk, 64)
    frame, (comma, refund) = 0, (tokenizer.token_to_id(piece) for piece in (",", "▁refund"))
    assert weights[refund] > 50 * weights[comma]
    assert weights[frame] < weights[comma]
    rows = [[0, 5, refund, 2], [0, comma, 2]]
    of_ids = torch.from_numpy(weights)
    torch.manual_seed(0)
    padded, packed = Padded(rows, 1, "cpu"), Packed(rows, "cpu")
    hidden = torch.randn(8, 6)
    real = hidden[[0, 1, 2, 3, 4, 5, 6]]
    expected = [np.average(real[:4], axis=0, weights=weights[rows[0]])]
    expected += [np.average(real[4:], axis=0, weights=weights[rows[1]])]
    for found in (padded.mean(hidden, of_ids), packed.mean(real, of_ids)):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
