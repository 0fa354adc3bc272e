"""How good a classifier is on the test parts of the sets, beside what needs no fine-tuning.

Two peers: the majority label of the training part, and (`before`) a linear head on the unchanged
trunk, trained on the same rows. Two-class sets are scored on {negative, positive} alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.classifier import Classifier
from models.data import LABELS, NEGATIVE, NEUTRAL, POSITIVE, Comment, LabelledSet
from models.ngrams import NGrams
from models.registry import Scores

PIECE, BINS = 512, 15


class Quality(Struct, frozen=True):
    """Of labelled comments: `auc` of positive against negative, `ece` the calibration error."""

    accuracy: float
    macro_f1: float
    auc: float
    ece: float


def quality(truth: NDArray[np.int64], shares: NDArray[np.float64], two_class: bool) -> Quality:
    """Measures of probabilities [rows, 3] against true labels [rows].

    The calibration error is Guo's (1706.04599): |accuracy - confidence| in 15 bins of the likeliest
    label's probability, weighted by rows.
    """
    scores = score(truth, best_labels(shares, two_class), two_class)
    margin = shares[:, POSITIVE] - shares[:, NEGATIVE]
    outer = truth != NEUTRAL
    known = shares.copy()
    if two_class:
        known[:, NEUTRAL] = 0.0
        known /= np.maximum(known.sum(axis=1, keepdims=True), 1e-12)
    hit = best_labels(shares, two_class) == truth
    return Quality(
        scores.accuracy,
        scores.macro_f1,
        round(area(margin[outer], truth[outer] == POSITIVE), 4),
        round(calibration_error(known.max(axis=1), hit), 4),
    )


def area(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve by ranks, ties half (Mann-Whitney); nan with one class alone."""
    hits, misses = int(positive.sum()), int((~positive).sum())
    if not hits or not misses:
        return float("nan")
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(count) - (count - 1) / 2
    above = float(ranks[place][positive].sum()) - hits * (hits + 1) / 2
    return above / (hits * misses)


def calibration_error(confidence: NDArray[np.float64], hit: NDArray[np.bool_]) -> float:
    """Weighted mean over bins of |share of hits - mean confidence|."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [
        abs(float(np.sum(hit[bins == each])) - float(np.sum(confidence[bins == each])))
        for each in range(BINS)
    ]
    return sum(gaps) / max(len(hit), 1)


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
            shares = probabilities(classifier, [comment.text for comment in piece])
            found += best_labels(shares, each.two_class).tolist()
            progress(len(piece))
        truth = np.array([comment.label for comment in comments])
        scores[each.name] = score(truth, np.array(found), each.two_class)
    return scores


def probabilities(classifier: Classifier, texts: Sequence[str]) -> NDArray[np.float64]:
    """Negative, neutral and positive of each text, [texts, 3]."""
    answers = classifier.predict(texts)
    return np.array([(one.negative, one.neutral, one.positive) for one in answers])


def evaluate_ngrams(table: NGrams, sets: Sequence[LabelledSet], rows: int = 0) -> dict[str, Scores]:
    """Scores of the n-gram expert alone on every set's test part."""
    scores = {}
    for each in sets:
        comments = test_rows(each, rows)
        logits = table.logits([comment.text for comment in comments]).astype(np.float64)
        truth = np.array([comment.label for comment in comments])
        found = best_labels(np.exp(logits), each.two_class)
        scores[each.name] = score(truth, found, each.two_class)
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
