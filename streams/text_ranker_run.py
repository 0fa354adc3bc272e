"""A training of a text ranker from beginning to end: split, train, measure before and after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from infra.settings import UserError
from models import resuming
from models.text_ranker import artifact
from models.text_ranker.evaluation import Quality, quality, ranks_of_sums
from models.text_ranker.pairs import Pairs, pairs_of
from models.text_ranker.tower import ItemTower, as_numpy
from models.text_ranker.training import train
from streams.text_ranker_peers import half_whitened, tfidf

if TYPE_CHECKING:
    from models.text_ranker.artifact import Manifest
    from models.text_ranker.plan import Plan
    from online.arrays import I64
    from streams.text_ranker_history import Told

VALIDATES = 0.15  # of the events that training may see, the last ones
SUMS = {
    "tfidf": ("tfidf",),
    "frozen": ("frozen",),
    "tfidf+frozen": ("tfidf", "frozen"),
    "text-ranker": ("text-ranker",),
    "tfidf+text-ranker": ("tfidf", "text-ranker"),
}

Progress = Callable[[int, int, float, Quality], None]


class Split(NamedTuple):
    """Pairs by time: what is learned, what stops it, what measures it; `seen`: events before."""

    training: Pairs
    validation: Pairs
    test: Pairs
    seen: int


def split(told: Told, share: float) -> Split:
    """The first `share` of the events may be seen."""
    pairs, events = pairs_of(told.users, told.items), len(told.users)
    seen = int(share * events)
    first = int((1 - VALIDATES) * seen)
    return Split(
        pairs.between(0, first), pairs.between(first, seen), pairs.between(seen, events), seen
    )


def run(
    told: Told, trunk: Path, plan: Plan, share: float, out: Path, progress: Progress
) -> Manifest:
    """Train on the first `share` of the events and write the artifact to `out`.

    Measured on the events after it, or where there are none on the validation's.

    Raises:
        UserError: too few events to learn from and to stop by.
    """
    parts = split(told, share)
    if not len(parts.training) or not len(parts.validation):
        raise UserError(
            f"of {parts.seen} events no user met two items, in the first 85 % or after: "
            "give more events, or a larger --share"
        )
    tower = ItemTower(trunk, told.texts, plan.layers, plan.width, plan.tokens)
    frozen = half_whitened(as_numpy(tower.frozen), told.content.scripts)
    # Of the same events another share is another training: it may have learned what tests here.
    mark = f"{told.mark} {share} {trunk.name}"
    trained = train(tower, parts.training, parts.validation, plan, out, mark, progress)
    tables = {
        "tfidf": tfidf(told.content),
        "frozen": frozen,
        # As the learner takes them.
        "text-ranker": half_whitened(as_numpy(tower.all()), told.content.scripts),
    }
    measured = parts.test if len(parts.test) else parts.validation
    known = told.items[: parts.seen if len(parts.test) else parts.training.event[-1] + 1]
    ranks = ranks_of_sums(tables, SUMS, measured)
    report = {
        group: {name: quality(each[inside]) for name, each in ranks.items()}
        for group, inside in _groups(told.items, measured, known).items()
    }
    manifest = artifact.Manifest(
        trunk=trunk.name,
        adapter=None,
        plan=plan,
        items=len(told.texts),
        pairs=len(parts.training),
        trained_until=float(told.times[parts.training.event[-1]]),
        seen_until=float(told.times[parts.seen - 1]),
        best=trained.best,
        passes=trained.passes,
        train_seconds=round(trained.seconds, 1),
        validation={"before": trained.before, "after": trained.validation},
        report=report,
        sha256={},
    )
    saved = artifact.save(out, tower, manifest)
    resuming.remove(out)
    return saved


def _groups(items: I64, measured: Pairs, known: I64) -> dict[str, np.ndarray]:
    """Which pairs: all; of items without an event in training's part; of an item's first event."""
    first = np.zeros(len(items), bool)
    first[np.unique(items, return_index=True)[1]] = True
    return {
        "all": np.ones(len(measured), bool),
        "new in training": ~np.isin(measured.target, known),
        "no event yet": first[measured.event],
    }
