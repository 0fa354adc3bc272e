"""How good a classifier is on the test parts of the sets, beside what needs no fine-tuning.

Two peers: the majority label of the training part, and (`before`) a linear head on the unchanged
trunk, trained on the same rows. Two-class sets are scored on {negative, positive} alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.classifier import Classifier
from models.data import LABELS, NEUTRAL, Comment, LabelledSet
from models.registry import Scores

PIECE = 512


def evaluate(
    classifier: Classifier,
    sets: Sequence[LabelledSet],
    rows: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Scores]:
    """Scores of every set's test part.

    Args:
        rows: at most so many test rows of each set, 0: all (see `test_rows`).
        progress: called with the number of comments just scored.
    """
    scores = {}
    for each in sets:
        comments = test_rows(each, rows)
        found: list[int] = []
        for start in range(0, len(comments), PIECE):
            piece = comments[start : start + PIECE]
            shares = [
                (one.negative, one.neutral, one.positive)
                for one in classifier.predict([comment.text for comment in piece])
            ]
            found += best_labels(np.array(shares), each.two_class).tolist()
            progress(len(piece))
        truth = np.array([comment.label for comment in comments])
        scores[each.name] = score(truth, np.array(found), each.two_class)
    return scores


def majority(sets: Sequence[LabelledSet], rows: int = 0) -> dict[str, Scores]:
    """Scores of the label that is most frequent in a set's training part."""
    scores = {}
    for each in sets:
        label = Counter(comment.label for comment in each.train).most_common(1)[0][0]
        truth = np.array([comment.label for comment in test_rows(each, rows)])
        scores[each.name] = score(truth, np.full_like(truth, label), each.two_class)
    return scores


def test_rows(labelled: LabelledSet, rows: int) -> Sequence[Comment]:
    """The test part, or `rows` of it that are always the same ones, whatever the seed."""
    if not rows or rows >= len(labelled.test):
        return labelled.test
    chosen = np.random.default_rng(11).choice(len(labelled.test), rows, replace=False)
    return [labelled.test[index] for index in np.sort(chosen)]


def best_labels(shares: NDArray[np.float64], two_class: bool) -> NDArray[np.int64]:
    """The likeliest label of each row; of the two outer ones where the set knows no neutral."""
    if two_class:
        shares = shares.copy()
        shares[:, NEUTRAL] = -1.0
    best: NDArray[np.int64] = np.argmax(shares, axis=1)
    return best


def score(truth: NDArray[np.int64], found: NDArray[np.int64], two_class: bool) -> Scores:
    """Accuracy, and F1 averaged over the set's labels (a label that never occurs counts 0)."""
    labels = [label for label in range(len(LABELS)) if not (two_class and label == NEUTRAL)]
    each = []
    for label in labels:
        hits = np.sum((truth == label) & (found == label))
        named = np.sum(truth == label) + np.sum(found == label)
        each.append(2 * hits / named if named else 0.0)
    accuracy = float(np.mean(truth == found)) if len(truth) else 0.0
    return Scores(len(truth), round(accuracy, 4), round(float(np.mean(each)), 4))
