"""Parity with plain transformers: the same artifact through `AutoModel`, one text at a time.

fp32 must give the same logits; bf16 may change the likeliest label of 2 real comments in 1,000.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models import tiles
from models.classifier import Classifier
from models.errors import EngineMissingError
from models.layouts import Packed, Padded
from models.parity import compare, read_texts
from models.peer_pipeline import plain_logits
from models.predictions import CANARIES

LONG = "The second part repeats the first, and the exercises do not fit the lectures. " * 9
WORDS = ("good", "boring and much too long for what it says", "很一般")
TEXTS = [*CANARIES, "no", LONG, "第三章的视频打不开，退款也没人理"]
TEXTS += [f"unit {n}: {word}" for n in range(12) for word in WORDS]


@pytest.fixture(scope="module")
def rows(classifier: Classifier) -> list[list[int]]:
    return [each.ids for each in classifier.prepare(TEXTS)]


@pytest.fixture(scope="module")
def plain(trunk: Path, rows: list[list[int]]) -> NDArray[np.float32]:
    return plain_logits(trunk, None, rows)


def batched(classifier: Classifier, rows: list[list[int]]) -> NDArray[np.float32]:
    found = np.empty((len(rows), 3), np.float32)
    for batch in classifier.batches([len(row) for row in rows]):
        found[batch] = classifier.logits([rows[index] for index in batch])
    return found


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_fp32_gives_the_logits_of_plain_transformers(
    trunk: Path, rows: list[list[int]], plain: NDArray[np.float32], packed: bool
) -> None:
    ours = Classifier(trunk, dtype="float32", packed=packed)
    np.testing.assert_allclose(batched(ours, rows), plain, atol=1e-3)


@pytest.mark.parametrize("own", [False, True], ids=["torch", "own"])
def test_bf16_keeps_the_labels(
    trunk: Path,
    rows: list[list[int]],
    plain: NDArray[np.float32],
    own: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not own:
        monkeypatch.setattr(tiles, "unit", lambda: None)
    ours = Classifier(trunk, dtype="bfloat16")
    found = compare(batched(ours, rows), plain)
    assert found.largest < 0.15
    assert found.flips == 0


@pytest.mark.data
def test_bf16_changes_the_label_of_few_real_comments(trunk: Path, shared_dir: Path) -> None:
    texts = read_texts(shared_dir / "data/stream-en-airline/tweets.csv.gz", "text", 2_000)
    exact, fast = (Classifier(trunk, dtype=each) for each in ("float32", "bfloat16"))
    # As they are served, with the expert: alone the trunk's nearest calls depend on the processor.
    pairs = zip(fast.predict(texts), exact.predict(texts), strict=True)
    assert np.mean([found.label != label.label for found, label in pairs]) <= 0.002


@pytest.mark.data
def test_int8_changes_the_label_of_one_real_comment_in_a_hundred(
    trunk: Path, classifier: Classifier, shared_dir: Path
) -> None:
    texts = read_texts(shared_dir / "data/stream-en-airline/tweets.csv.gz", "text", 1_000)
    fast, exact = Classifier(trunk, engine="openvino"), Classifier(trunk, dtype="float32")
    rows = [each.ids for each in exact.prepare(texts) if each.ids]
    found = compare(batched(fast, rows), batched(exact, rows))
    assert 0 < found.flips <= 0.01
    labels = [each.label for each in fast.predict(CANARIES)]
    assert labels == [each.label for each in classifier.predict(CANARIES)]


def test_an_engine_is_missed_in_one_line(trunk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineMissingError, match="pip install"):
        Classifier(trunk, engine="openvino")


def test_a_packed_batch_holds_real_tokens_only(classifier: Classifier) -> None:
    rows = [[5, 6, 7], [8], [9, 10]]
    packed, padded = Packed(rows, "cpu"), Padded(rows, 1, "cpu")
    assert packed.ids.tolist() == [5, 6, 7, 8, 9, 10]
    assert packed.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert len(padded.ids) == 9


def test_a_text_in_a_packed_batch_does_not_see_its_neighbours(
    trunk: Path, rows: list[list[int]]
) -> None:
    ours = Classifier(trunk, dtype="float32", packed=True)
    together = ours.logits(rows[:6])
    for row, logits in zip(rows[:6], together, strict=True):
        np.testing.assert_allclose(ours.logits([row])[0], logits, atol=1e-4)
