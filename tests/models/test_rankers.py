"""Rankers: the split, the losses, all items ranked, early stopping, and the artifact."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from models.errors import ModelError
from models.rankers import artifact, evaluation
from models.rankers.interactions import Split, split_by_time
from models.rankers.losses import loss_of
from models.rankers.networks import make
from models.rankers.training import Plan, train


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Of so little work threads make more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def circles(users: int = 60, items: int = 40, each: int = 12) -> Split:
    """Two circles of users, each with items of its own."""
    rng = np.random.default_rng(0)
    who, what = [], []
    for user in range(users):
        mine = rng.permutation(items // 2)[:each] + (user % 2) * (items // 2)
        who += [user] * each
        what += mine.tolist()
    return split_by_time(who, what)


class Fixed(nn.Module):
    """The same scores for every user."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = torch.tensor(scores, dtype=torch.float32)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        return self.scores[items].expand(len(users), -1)


def test_the_last_item_tests_and_the_one_before_validates() -> None:
    split = split_by_time([0, 1, 0, 0, 1, 0, 0], [5, 1, 6, 5, 2, 7, 3])
    assert split.test.tolist() == [3, -1], "two items are too few to hold any out"
    assert split.validation.tolist() == [7, -1]
    assert split.items.tolist() == [5, 6, 1, 2], "a repeat does not count"
    assert split.start.tolist() == [0, 2, 4]
    assert split.item_count == 8


def test_items_had_before_are_not_ranked_and_ties_count_against() -> None:
    split = split_by_time([0, 0, 0, 0], [0, 1, 2, 3])
    for scores, rank in (
        ([9, 9, 9, 5], 1),
        ([0, 0, 0, 5], 1),
        ([9, 9, 9, np.nan], 99),
    ):
        found = evaluation.evaluate(Fixed(scores), split, split.test)
        assert found.hr10 == float(rank <= 10)
    tied = split_by_time([0, 0, 0, *range(1, 12)], [0, 1, 2, *range(3, 14)])
    assert evaluation.evaluate(Fixed([1.0] * 14), tied, tied.test).hr10 == 0.0


def test_losses_fall_as_the_taken_item_rises() -> None:
    negatives = torch.zeros(2, 3)
    for kind, at_zero in (("bpr", np.log(2)), ("cross-entropy", np.log(4))):
        low, high = (loss_of(kind, torch.full((2, 1), x), negatives) for x in (0.0, 3.0))  # type: ignore[arg-type]
        assert float(low) == pytest.approx(at_zero, rel=1e-5)
        assert float(high) < float(low)


@pytest.mark.parametrize("kind", ["mf", "mlp"])
def test_shared_negatives_score_as_if_each_had_its_own(kind: str) -> None:
    torch.manual_seed(0)
    ranker = make(kind, 5, 7, 8)  # type: ignore[arg-type]
    users, items = torch.tensor([1, 4]), torch.tensor([6, 0, 2])
    assert torch.allclose(ranker(users, items), ranker(users, items.expand(2, -1)), atol=1e-6)


@pytest.mark.parametrize("model", ["mf", "mlp"])
@pytest.mark.parametrize("loss", ["bpr", "cross-entropy"])
def test_circles_are_learned(model: str, loss: str, tmp_path: Path) -> None:
    split = circles()
    sizes = {"width": 8, "epochs": 12, "patience": 12, "negatives": 16, "batch": 64}
    plan = msgspec.convert({"model": model, "loss": loss, "rate": 0.02, **sizes}, Plan)
    told: list[int] = []
    trained = train(split, plan, tmp_path, lambda epoch, *_: told.append(epoch))
    found = evaluation.evaluate(trained.ranker, split, split.test)
    assert found.hr10 > evaluation.popularity(split, split.test).hr10 + 0.2
    assert told == list(range(1, trained.epochs + 1))
    assert list(tmp_path.glob("events.out.tfevents.*")), "TensorBoard has its log"


def test_it_stops_early_with_the_best_weights_and_a_seed_decides(tmp_path: Path) -> None:
    split = circles()
    plan = Plan(width=8, epochs=200, patience=2, rate=0.05, batch=64, negatives=16, seed=3)
    first, second = (train(split, plan, tmp_path / str(n), lambda *_: None) for n in range(2))
    assert first.epochs == first.best_epoch + 2 < 200
    assert evaluation.evaluate(first.ranker, split, split.validation) == first.validation
    assert (first.epochs, first.validation) == (second.epochs, second.validation)


def test_an_artifact_comes_back(tmp_path: Path) -> None:
    split = circles()
    plan = Plan(model="mlp", width=8, epochs=1)
    trained = train(split, plan, tmp_path / "logs", lambda *_: None)
    quality = evaluation.Quality(0.5, 0.25)
    manifest = artifact.Manifest(
        plan, len(split.users), split.user_count, split.item_count, 1, 1, 0.1, quality, quality,
        quality,
    )  # fmt: skip
    ids = [f"课-{n}" for n in range(split.item_count)]
    artifact.save(tmp_path, trained.ranker, manifest, ids)
    back = artifact.load(tmp_path)
    assert (back.manifest, back.item_ids) == (manifest, ids)
    users, items = torch.arange(5), torch.arange(split.item_count)
    assert torch.equal(back.network(users, items), trained.ranker(users, items))


def test_no_artifact_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no ranker"):
        artifact.load(tmp_path)
    (tmp_path / artifact.FILE).write_bytes(b"no")
    with pytest.raises(ModelError, match="no ranker"):
        artifact.load(tmp_path)
