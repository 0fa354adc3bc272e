"""A batch on the device: whatever one text does to the model, its neighbours are answered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.classifier import Classifier
from models.predictions import Prepared
from models.waiting import Answer, Result, Task


def answered(
    task: Task, model: Classifier, rows: Sequence[Prepared]
) -> Sequence[Result | Exception]:
    """A result for each row, or what the model failed with on that row alone.

    Raises:
        Exception: the device is broken, which must not pass for a bad text.
    """
    try:
        return _results(task, model, rows)
    except Exception:
        if not model.works():
            raise
        return [_alone(task, model, row) for row in rows]


def _alone(task: Task, model: Classifier, row: Prepared) -> Result | Exception:
    try:
        return _results(task, model, [row])[0]
    except Exception as error:
        return error


def _results(task: Task, model: Classifier, rows: Sequence[Prepared]) -> list[Result]:
    if task is Task.PREDICT:
        return [Answer(each) for each in model.score(rows)]
    embed = model.embed if task is Task.EMBED else model.embed_items
    vectors = embed([row.ids for row in rows])
    if not np.isfinite(vectors).all():
        raise ArithmeticError("the model answered with something that is no number")
    return list(vectors)
