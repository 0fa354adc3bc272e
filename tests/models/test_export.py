"""Exports answer as the artifact does, in the programs that they are for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.classifier import Classifier
from models.encoder import as_tensors, load_trunk, pooled
from models.errors import ArtifactError
from models.export import export
from models.session import Session
from tests.models.small import ROWS, written


@pytest.fixture(scope="module")
def session(small_trunk: Path) -> Session:
    torch.manual_seed(0)
    found = Session(small_trunk, ROWS, "lora")
    found.train(3, np.random.default_rng(0), lambda step, steps, loss: None)
    return found


@pytest.fixture
def artifact(session: Session, small_trunk: Path, tmp_path: Path) -> Path:
    return written(session, small_trunk, tmp_path / "artifact")


@pytest.fixture
def expected(session: Session, small_trunk: Path, artifact: Path) -> np.ndarray:
    found: np.ndarray = Classifier(small_trunk, artifact, dtype="float32").logits(session.ids)
    return found


def logits(folder: Path, vectors: torch.Tensor) -> np.ndarray:
    heads = load_file(folder / "heads.safetensors")
    found: np.ndarray = (vectors @ heads["sentiment.weight"].T + heads["sentiment.bias"]).numpy()
    return found


@pytest.mark.parametrize(("kind", "most"), [("fp32", 1e-3), ("bf16", 0.1)])
def test_transformers_reads_it(
    kind: str, most: float, session: Session, expected: np.ndarray, artifact: Path,
    small_trunk: Path, tmp_path: Path,
) -> None:  # fmt: skip
    folder = export(artifact, small_trunk, tmp_path / kind, kind)  # type: ignore[arg-type]
    with torch.no_grad():
        ids, mask = as_tensors(session.ids, session.pad_id, "cpu")
        found = logits(folder, pooled(load_trunk(folder), ids, mask))
    assert np.abs(found - expected).max() < most
    with pytest.raises(ArtifactError, match="not empty"):
        export(artifact, small_trunk, folder, kind)  # type: ignore[arg-type]


def test_openvino_reads_int8(
    session: Session, expected: np.ndarray, artifact: Path, small_trunk: Path, tmp_path: Path
) -> None:
    import openvino

    folder = export(artifact, small_trunk, tmp_path / "int8", "int8")
    model = openvino.compile_model(folder / "model.xml", "CPU")
    ids, mask = (each.numpy() for each in as_tensors(session.ids, session.pad_id, "cpu"))
    found = logits(folder, torch.from_numpy(model((ids, mask))[0].copy()))
    assert np.abs(found - expected).max() < 0.1
