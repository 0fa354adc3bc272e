"""Every way to fine-tune: its loss falls, and what serves answers as the trained model did.

On a trunk of four small layers with random weights.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models import registry
from models.classifier import Classifier
from models.encoder import as_tensors, pooled
from models.errors import ArtifactError
from models.methods import METHODS, Method
from models.options import Options
from models.peer_pipeline import plain_logits
from models.pruning import spread
from models.registry import Manifest
from models.session import MASKED, Session
from tests.models.small import ROWS, written

RIGHT = np.array([row.label for row in ROWS])
STEPS = 12


def trained(trunk: Path, method: Method, layers: int = 0, taught: bool = False) -> Session:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    lesson = np.where(RIGHT[:, None] == np.arange(3), 3.0, -3.0).astype(np.float32)
    options = Options(layers=layers)
    session = Session(trunk, ROWS, method, options, lesson if taught else None)
    before = loss(session)
    session.train(STEPS, np.random.default_rng(0), lambda step, steps, loss: None)
    assert loss(session) < before
    return session


def loss(session: Session) -> float:
    with torch.no_grad():
        return session.loss(session.vectors(session.ids), range(len(ROWS))).item()


def answers(session: Session) -> np.ndarray:
    ids, mask = as_tensors(session.ids, session.pad_id, "cpu")
    with torch.no_grad():
        logits: np.ndarray = session.head(pooled(session.trunk, ids, mask)).numpy()
    return logits


@pytest.mark.parametrize("method", METHODS)
def test_a_method_learns_and_serves_as_it_was_trained(
    method: Method, small_trunk: Path, tmp_path: Path
) -> None:
    session = trained(small_trunk, method)
    expected = answers(session)
    folder = written(session, small_trunk, tmp_path)
    for packed in (False, True):
        served = Classifier(small_trunk, folder, device="cpu", dtype="float32", packed=packed)
        assert np.abs(served.logits(session.ids) - expected).max() < 0.05
    if method == "prefix":
        with pytest.raises(ArtifactError, match="prefix"):
            plain_logits(small_trunk, folder, session.ids[:1])
    else:
        plain = plain_logits(small_trunk, folder, session.ids)
        assert np.abs(served.logits(session.ids) - plain).max() < 1e-3


def test_a_student_keeps_fewer_layers_and_learns_from_its_teacher(
    small_trunk: Path, tmp_path: Path
) -> None:
    session = trained(small_trunk, "full", layers=2, taught=True)
    assert session.layers == (0, 3)
    expected = answers(session)
    # Its rows never say what is neutral; its teacher does.
    assert (answers(trained(small_trunk, "full", layers=2))[:, 1] == MASKED).all()
    assert (expected[:, 1] > MASKED).all() and (expected[:, 1] < expected.max(axis=1)).all()
    served = Classifier(
        small_trunk, written(session, small_trunk, tmp_path), device="cpu", dtype="float32"
    )
    assert np.abs(served.logits(session.ids) - expected).max() < 0.05


def test_operations_are_those_of_the_layers_that_are_kept(
    small_trunk: Path, tmp_path: Path
) -> None:
    student = Session(small_trunk, ROWS, "lora", Options(layers=2))
    folder = written(student, small_trunk, tmp_path)
    served = Classifier(small_trunk, folder, device="cpu", dtype="float32")
    assert served.operations([9, 5]) == served.operations([9, 5], of_trunk=True) / 2 > 0


@pytest.mark.parametrize("broken", [registry.HEADS, registry.ADAPTER])
def test_what_does_not_fit_the_trunk_is_refused(
    small_trunk: Path, tmp_path: Path, broken: str
) -> None:
    folder = written(Session(small_trunk, ROWS, "lora"), small_trunk, tmp_path)
    tensors = load_file(folder / broken)
    for wrong in (
        {name: each[..., :-1].contiguous() for name, each in tensors.items()},
        {f"no.{name}": each for name, each in tensors.items()},
    ):
        save_file(wrong, folder / broken)
        manifest = msgspec.json.decode((folder / registry.MANIFEST).read_bytes(), type=Manifest)
        digests = manifest.sha256 | {broken: registry.sha256(folder / broken)}
        registry.write_manifest(folder, msgspec.structs.replace(manifest, sha256=digests))
        with pytest.raises(ArtifactError, match=r"does not fit|no sentiment head"):
            Classifier(small_trunk, folder, device="cpu", dtype="float32")


def test_layers_are_kept_evenly_the_last_one_among_them() -> None:
    assert spread(12, 6) == (0, 2, 4, 7, 9, 11)
    assert spread(12, 12) == spread(12, 0) == ()
