"""The options of fine-tuning: each alone, and all of them in one training that still learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from models.errors import ModelError
from models.methods import Method
from models.options import Options, Patience, Perturbation, balanced, thinned
from models.session import MASKED, Session
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
        patience.look(loss)
        found.append(patience.over)
    assert found == [False, False, False, True]
    patience.restore()
    assert weight.item() == 1


@pytest.mark.parametrize("method", ["lora", "adalora", "full"])
def test_to_freeze_all_layers_is_refused(small_trunk: Path, method: Method) -> None:
    with pytest.raises(ModelError, match="leave one to train"):
        Session(small_trunk, ROWS, method, Options(frozen_layers=2, layers=2))


def test_the_last_step_is_the_mean_of_the_batches_that_are_left(small_trunk: Path) -> None:
    sizes = []

    class Watched(Session):
        def backward(self, batch: Any, together: int, generator: Any, moved: Any) -> float:
            sizes.append(together)
            return super().backward(batch, together, generator, moved)

    session = Watched(small_trunk, ROWS, "lora", Options(accumulate=2))
    session.train(5, np.random.default_rng(0), lambda step, steps, loss: None)
    assert sizes == [2, 2, 2, 2, 1]


def test_a_loss_that_is_no_number_ends_the_training(small_trunk: Path) -> None:
    session = Session(small_trunk, ROWS, "lora")
    torch.nn.init.constant_(session.head.weight, float("nan"))
    with pytest.raises(ModelError, match="nan after 1 batch"):
        session.train(1, np.random.default_rng(0), lambda step, steps, loss: None)


@pytest.mark.parametrize("method", ["lora", "head"])
def test_what_nobody_told_it_is_never_its_answer(small_trunk: Path, method: Method) -> None:
    three = [msgspec.structs.replace(row, two_class=False) for row in ROWS]
    for rows, never in ((ROWS, True), ([*ROWS, three[0]], False)):
        session = Session(small_trunk, rows, method)
        session.train(1, np.random.default_rng(0), lambda step, steps, loss: None)
        weight, bias = session.heads().values()
        assert (bias[1] == MASKED and not weight[1].any()) == never


def test_what_is_held_back_is_nowhere_else(small_trunk: Path) -> None:
    rows = [*ROWS, *ROWS[:30]]
    session = Session(small_trunk, rows, "head", Options(patience=1))
    held, kept = session.held_back(np.random.default_rng(0))
    assert sorted(held + kept) == list(range(90))
    assert held
    assert not {rows[at].text for at in held} & {rows[at].text for at in kept}


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
