"""Parity with plain transformers: the same artifact through `AutoModel`, one text at a time.

fp32 must give the same logits; bf16, and int8 with bf16's second look, may change the likeliest
label of 2 real comments in 1,000, int8 alone of 10.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models import tiles, two_looks
from models.classifier import Classifier
from models.errors import EngineMissingError
from models.layouts import Packed, Padded
from models.parity import compare
from models.peer_pipeline import plain_logits
from models.predictions import CANARIES
from streams.labelled_rows import read_texts

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


@pytest.fixture(scope="module")
def real(shared_dir: Path) -> list[str]:
    return read_texts(shared_dir / "data/stream-en-airline/tweets.csv.gz", "text", 2_000)


@pytest.fixture(scope="module")
def exact(trunk: Path, real: list[str]) -> list[str]:
    """Labels as they are served, with the expert: alone the trunk's nearest calls depend on the
    processor.
    """
    return [each.label for each in Classifier(trunk, dtype="float32").predict(real)]


@pytest.mark.data
@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_few_real_comments_have_another_label(
    trunk: Path, real: list[str], exact: list[str], dtype: str
) -> None:
    fast = Classifier(trunk, dtype=dtype)
    if fast.dtype != dtype:
        pytest.skip(f"this processor has no units for {dtype}")
    labels = [each.label for each in fast.predict(real)]
    assert np.mean([a != b for a, b in zip(labels, exact, strict=True)]) <= 0.002


@pytest.mark.data
def test_openvino_changes_the_label_of_one_real_comment_in_a_hundred(
    trunk: Path, classifier: Classifier, real: list[str], exact: list[str]
) -> None:
    fast = Classifier(trunk, engine="openvino")
    labels = [each.label for each in fast.predict(real[:1_000])]
    assert 0 < np.mean([a != b for a, b in zip(labels, exact[:1_000], strict=True)]) <= 0.01
    labels = [each.label for each in fast.predict(CANARIES)]
    assert labels == [each.label for each in classifier.predict(CANARIES)]


def test_close_calls_and_topics_are_read_in_bf16(
    trunk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice, careful = (Classifier(trunk, dtype=each) for each in ("int8", "bfloat16"))
    if twice.dtype != "int8":
        pytest.skip("this processor has no units for int8")
    monkeypatch.setattr(two_looks, "CLOSE", 0.5)
    found, expected = twice.predict(TEXTS), careful.predict(TEXTS)
    again = [a == b for a, b in zip(found, expected, strict=True)]
    assert 0 < sum(again) < len(TEXTS)
    for kept, each in zip(again, found, strict=True):
        first, second, _ = sorted((each.negative, each.neutral, each.positive), reverse=True)
        assert kept or first - second > 0.5
    for each, other in zip(found, expected, strict=True):
        assert abs(each.positive - other.positive) < 0.1
    assert twice.predict(TEXTS, topics=True) == careful.predict(TEXTS, topics=True)
    alone = [twice.predict([each])[0] for each in TEXTS]
    shares = [[(a.negative, a.neutral, a.positive) for a in each] for each in (alone, found)]
    np.testing.assert_allclose(*shares, atol=1e-6, err_msg="whatever is beside a text")


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
