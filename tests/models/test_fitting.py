"""A training that was interrupted goes on, and comes to what it would have come to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models import resuming
from models.fitting import Place
from models.methods import Method
from models.options import Options
from models.session import Session
from tests.models.small import ROWS

OPTIONS = Options(class_weights=True, adversarial=1.0, thinning=0.5, accumulate=2, patience=20)


def fitted(
    trunk: Path, method: Method, place: Place | None, seed: int = 0, stop: int = 0
) -> tuple[dict[str, torch.Tensor], list[int]]:
    """Weights, and the batches that were done."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    session, done = Session(trunk, ROWS, method, OPTIONS), list[int]()

    def progress(step: int, steps: int, loss: float) -> None:
        done.append(step)
        if step == stop:
            raise KeyboardInterrupt

    session.train(9, np.random.default_rng(0), progress, place)
    _, adapter, layers = session.adapter()
    return adapter | layers | session.heads(), done


@pytest.mark.parametrize("method", ["lora", "prefix", "full"])
def test_what_goes_on_comes_to_the_same(
    method: Method, small_trunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.fitting.KEPT_EVERY", 3)
    expected, _ = fitted(small_trunk, method, None)
    place = Place(tmp_path, "one")
    with pytest.raises(KeyboardInterrupt):
        fitted(small_trunk, method, place, stop=7)
    # Another beginning: all that counts was kept.
    found, done = fitted(small_trunk, method, place, seed=1)
    assert done == [5, 6, 7, 8, 9]
    assert found.keys() == expected.keys()
    assert all(torch.equal(each, expected[name]) for name, each in found.items())


def test_another_training_begins_anew(
    small_trunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.fitting.KEPT_EVERY", 2)
    with pytest.raises(KeyboardInterrupt):
        fitted(small_trunk, "lora", Place(tmp_path, "one"), stop=3)
    assert (tmp_path / resuming.FILE).exists()
    assert fitted(small_trunk, "lora", Place(tmp_path, "other"))[1][0] == 1
