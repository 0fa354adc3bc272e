"""The choice of an engine: the gate, the fastest, and what is remembered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models import engines
from models.classifier import Classifier
from models.errors import EngineMissingError
from models.session import Session
from tests.models.small import ROWS, written

TEXTS = [row.text for row in ROWS] * 2


@pytest.fixture(scope="module")
def artifact(small_trunk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    session = Session(small_trunk, ROWS, "lora")
    session.train(20, np.random.default_rng(0), lambda step, steps, loss: None)
    return written(session, small_trunk, tmp_path_factory.mktemp("engines") / "artifact")


def test_the_fastest_that_passes_is_chosen_and_remembered(
    artifact: Path, small_trunk: Path, tmp_path: Path
) -> None:
    made: list[tuple[str, str | None]] = []

    def make(engine: str, dtype: str | None) -> Classifier:
        made.append((engine, dtype))
        return Classifier(small_trunk, artifact, device="cpu", dtype=dtype, engine=engine)

    choice = engines.chosen(make, TEXTS, artifact, 1, tmp_path)
    assert made == [
        ("torch", "float32"),
        ("torch", "bfloat16"),
        ("torch", "int8"),
        ("openvino", None),
    ]
    exact, *others = choice.measured
    assert exact.flips == 0
    assert exact.passed
    passed = [each for each in choice.measured if each.passed]
    best = max(passed, key=lambda each: each.per_core_second)
    assert (choice.engine, choice.dtype) == (best.engine, best.dtype)
    assert all(
        each.passed == (each.flips <= gate)
        for each, gate in zip(others, (0.002, 0.01), strict=True)
    )
    assert engines.chosen(make, TEXTS, artifact, 1, tmp_path) == choice
    assert len(made) == 4, "the second time nothing is measured"
    engines.chosen(make, TEXTS, artifact, 2, tmp_path)
    assert len(made) == 8, "another number of threads is another machine"


def test_two_versions_in_one_process_hold_one_trunk(artifact: Path, small_trunk: Path) -> None:
    first = Classifier(small_trunk, artifact, device="cpu", dtype="float32")
    second = Classifier(small_trunk, artifact, device="cpu", dtype="float32", beside=first)
    other = Classifier(small_trunk, artifact, device="cpu", dtype="bfloat16", beside=first)
    assert second._trunk is first._trunk
    assert other._trunk is not first._trunk
    rows = [each.ids for each in first.prepare(TEXTS[:4])]
    np.testing.assert_array_equal(second.logits(rows), first.logits(rows))
    np.testing.assert_array_equal(second.embed(rows), first.embed(rows))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_told(artifact: Path, small_trunk: Path) -> None:
    with pytest.raises(EngineMissingError, match="--device cpu"):
        Classifier(small_trunk, artifact, device="cuda")


def test_openvino_computes_on_the_cpu_whatever_device_there_is(
    artifact: Path, small_trunk: Path
) -> None:
    classifier = Classifier(small_trunk, artifact, device="cuda", engine="openvino")
    classifier.warm_up()
    assert classifier.device == "cpu"
    assert classifier.reading.of[1] == "cpu"
