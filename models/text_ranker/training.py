"""Training of a text ranker, with early stopping on the pairs that come next in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from msgspec import Struct
from torch import Tensor

from models import resuming
from models.text_ranker import start
from models.text_ranker.evaluation import Quality, quality, ranks_of
from models.text_ranker.pairs import Pairs
from models.text_ranker.plan import Plan
from models.text_ranker.steps import Steps
from models.text_ranker.tower import ItemTower, as_numpy

SELDOM = 2  # pairs of the training with an item as the target: it is hardly known
FEWEST_SELDOM = 100  # pairs of such items, to stop by these alone


class State(Struct, frozen=True):
    """How far it is: passes done, the best one, the validation at first, and at the best."""

    mark: str
    before: Quality
    validation: Quality
    passes: int = 0
    best: int = 0
    seconds: float = 0.0


class Trained(NamedTuple):
    """A tower with the weights of its best pass, 0: none moved the trunk for the better.

    `before`, `validation`: the recall of the frozen vectors and of the best pass.
    """

    tower: ItemTower
    best: int
    passes: int
    before: Quality
    validation: Quality
    seconds: float


def seldom(pairs: Pairs, training: Pairs) -> Pairs:
    """Those whose item is the target of two pairs of the training or fewer.

    More than those of new items, which are too few to tell a pass from the next.
    """
    most = 1 + max(pairs.target.max(initial=0), training.target.max(initial=0))
    return pairs.some(np.bincount(training.target, minlength=most)[pairs.target] <= SELDOM)


def train(
    tower: ItemTower,
    training: Pairs,
    validation: Pairs,
    plan: Plan,
    folder: Path,
    mark: str,
    progress: Callable[[int, int, float, Quality], None],
) -> Trained:
    """Train; TensorBoard reads loss and validation from `folder`/tensorboard.

    It stops when recall@50 of the validation has not risen for so many passes: of its pairs with
    items that training knows nothing of, where these are a hundred. A run that was interrupted goes
    on after its last whole pass.

    Args:
        mark: of the texts and the pairs; a run goes on only with the same ones and the same plan.
        progress: called after every step with (steps done, of, mean loss, latest validation).
    """
    from torch.utils.tensorboard import SummaryWriter

    began = time.perf_counter()
    mark = f"{mark} {msgspec.json.encode(plan).decode()}"
    few = seldom(validation, training)
    watched = few if len(few) >= FEWEST_SELDOM else validation
    steps = Steps(tower, training, plan)
    latest = _look(tower, steps, watched)
    state, best = State(mark, latest, latest), _copied(steps)
    tower.start_at(start.turned(as_numpy(tower.frozen), training, tower.projection.out_features))
    if (latest := _look(tower, steps, watched)).recall50 > state.validation.recall50:
        state, best = msgspec.structs.replace(state, validation=latest), _copied(steps)
    if kept := resuming.read(folder, State, mark, steps.parameters, steps.optimiser):
        state, best, _ = kept
        steps.bank = tower.means_of_all()
    writer = SummaryWriter(str(folder / "tensorboard"))
    try:
        while state.passes < plan.passes and state.passes - state.best < plan.patience:
            done = state.passes * steps.count

            def told(step: int, mean: float, done: int = done, latest: Quality = latest) -> None:
                progress(done + step, plan.passes * steps.count, mean, latest)

            loss = steps.one_pass(state.passes + 1, told)
            steps.bank = tower.means_of_all()
            latest = _look(tower, steps, watched)
            state = msgspec.structs.replace(state, passes=state.passes + 1)
            if latest.recall50 > state.validation.recall50:
                state = msgspec.structs.replace(state, best=state.passes, validation=latest)
                best = _copied(steps)
            writer.add_scalar("loss/train", loss, state.passes)
            writer.add_scalar("validation/recall50", latest.recall50, state.passes)
            writer.add_scalar("validation/ndcg10", latest.ndcg10, state.passes)
            spent = msgspec.structs.replace(
                state, seconds=state.seconds + time.perf_counter() - began
            )
            resuming.write(folder, spent, steps.parameters, best, steps.optimiser)
    finally:
        writer.close()
    for own, kept_best in zip(steps.parameters, best, strict=True):
        own.data.copy_(kept_best)
    seconds = state.seconds + time.perf_counter() - began
    return Trained(tower, state.best, state.passes, state.before, state.validation, seconds)


def _look(tower: ItemTower, steps: Steps, watched: Pairs) -> Quality:
    with torch.no_grad():
        return quality(ranks_of(as_numpy(tower(steps.bank)), watched))


def _copied(steps: Steps) -> list[Tensor]:
    return [each.detach().clone() for each in steps.parameters]
