"""The options of fine-tuning: each alone, and all of them in one training that still learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.options import Options, Patience, Perturbation, balanced, thinned
from models.session import Session
from tests.models.small import ROWS


def test_rare_labels_weigh_more_and_absent_ones_nothing() -> None:
    weights = balanced([0, 0, 0, 2], 3)
    assert weights == [pytest.approx(4 / 6), 0.0, pytest.approx(2.0)]
    assert sum(weights[label] for label in (0, 0, 0, 2)) == pytest.approx(4)


def test_a_thinned_row_keeps_its_frame_and_its_order() -> None:
    ids = [0, *range(10, 200), 2]
    found = thinned(ids, np.random.default_rng(0))
    assert (found[0], found[-1]) == (0, 2)
    assert found == [*sorted(found[:-1]), 2]
    assert 150 <= len(found) < len(ids)
    assert thinned([0, 2], np.random.default_rng(0)) == [0, 2]


def test_a_perturbation_raises_the_loss_and_leaves_the_next_batch_alone() -> None:
    torch.manual_seed(0)
    table, layer = torch.nn.Embedding(9, 4).requires_grad_(False), torch.nn.Linear(4, 2)
    moved, ids, right = Perturbation(table, 0.5), torch.arange(6), torch.tensor([0, 1] * 3)

    def loss() -> torch.Tensor:
        return torch.nn.functional.cross_entropy(layer(table(ids)), right)

    plain = loss()
    plain.backward()  # type: ignore[no-untyped-call]
    with moved:
        assert loss() > plain
    assert loss() == plain


def test_patience_ends_and_goes_back_to_the_best() -> None:
    weight = torch.zeros(1)
    patience = Patience([weight], 2)
    found = []
    for step, loss in enumerate((3.0, 1.0, 2.0, 1.5)):
        weight.fill_(step)
        found.append(patience.over(loss))
    assert found == [False, False, False, True]
    patience.restore()
    assert weight.item() == 1


def test_all_options_together_still_learn(small_trunk: Path) -> None:
    options = Options(
        class_weights=True, adversarial=1.0, thinning=0.5, frozen_layers=2, accumulate=2, patience=9
    )
    torch.manual_seed(0)
    session = Session(small_trunk, ROWS, "lora", options)

    def loss() -> float:
        with torch.no_grad():
            return session.loss(session.vectors(session.ids), range(len(ROWS))).item()

    before, losses = loss(), list[float]()
    session.train(40, np.random.default_rng(0), lambda step, steps, loss: losses.append(loss))
    _, adapter, _ = session.adapter()
    assert {name.split(".layer.")[1].split(".")[0] for name in adapter} == {"2", "3"}
    assert loss() < before
    assert len(losses) <= 40
