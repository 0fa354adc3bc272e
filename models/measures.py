"""Measures of labels and probabilities against the truth, for sentiment and for topics alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.data import LABELS, NEGATIVE, NEUTRAL, POSITIVE
from models.registry import Scores

BINS, RESAMPLED = 15, 500


class OfLabel(Struct, frozen=True):
    """One label's row of a classification report; `rows` are those whose true label it is."""

    precision: float
    recall: float
    f1: float
    rows: int


class Quality(Struct, frozen=True):
    """Of labelled texts: `auc` of positive against negative (nan where one of them is missing),
    `ece` the calibration error, `labels` the classification report, `confusion` the rows by true
    label (down) and answer (across), both in the order of `labels`, `reliability` the bins behind
    `ece` that have rows: mean confidence, share of hits, rows."""

    accuracy: float
    macro_f1: float
    auc: float
    ece: float
    accuracy_se: float
    macro_f1_se: float
    labels: dict[str, OfLabel]
    confusion: list[list[int]]
    reliability: list[tuple[float, float, int]]


def quality(truth: NDArray[np.int64], shares: NDArray[np.float64], two_class: bool) -> Quality:
    """Measures of probabilities [rows, 3] against true sentiments [rows]."""
    margin = shares[:, POSITIVE] - shares[:, NEGATIVE]
    outer = truth != NEUTRAL
    known = shares.copy()
    if two_class:
        known[:, NEUTRAL] = 0.0
        known /= np.maximum(known.sum(axis=1, keepdims=True), 1e-12)
    auc = round(area(margin[outer], truth[outer] == POSITIVE), 4)
    return _quality(truth, known, labels_of(two_class), auc)


def topic_quality(
    truth: NDArray[np.int64], shares: NDArray[np.float64], names: Sequence[str]
) -> Quality:
    """Measures of probabilities [rows, topics] against true topics [rows]; there is no AUC."""
    return _quality(truth, shares, list(enumerate(names)), float("nan"))


def _quality(
    truth: NDArray[np.int64],
    shares: NDArray[np.float64],
    labels: Sequence[tuple[int, str]],
    auc: float,
) -> Quality:
    found = shares.argmax(axis=1)
    scores = score_labels(truth, found, labels)
    bins = reliability(shares.max(axis=1), found == truth)
    table = confusion(truth, found, [number for number, _ in labels])
    accuracy_se, macro_f1_se = standard_errors(table)
    return Quality(
        accuracy=scores.accuracy,
        macro_f1=scores.macro_f1,
        auc=auc,
        ece=round(calibration_error(bins), 4),
        accuracy_se=round(accuracy_se, 4),
        macro_f1_se=round(macro_f1_se, 4),
        labels=per_label(truth, found, labels),
        confusion=table.tolist(),
        reliability=bins,
    )


def confusion(
    truth: NDArray[np.int64], found: NDArray[np.int64], numbers: Sequence[int]
) -> NDArray[np.int64]:
    """Rows by true label (down) and answer (across): int64[labels, labels]."""
    return np.array(
        [[int(np.sum((truth == row) & (found == column))) for column in numbers] for row in numbers]
    )


def standard_errors(table: NDArray[np.int64]) -> tuple[float, float]:
    """Of accuracy and macro-F1: the bootstrap, 500 resamplings of a confusion matrix's rows."""
    rows = int(table.sum())
    if not rows:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(5).multinomial(rows, table.ravel() / rows, size=RESAMPLED)
    tables = drawn.reshape(RESAMPLED, *table.shape)
    hits = np.diagonal(tables, axis1=1, axis2=2)
    named = np.maximum(tables.sum(axis=1) + tables.sum(axis=2), 1)
    f1 = (2 * hits / named).mean(axis=1)
    return float((hits.sum(axis=1) / rows).std()), float(f1.std())


def area(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve by ranks, ties half (Mann-Whitney); nan with one class alone."""
    hits, misses = int(positive.sum()), int((~positive).sum())
    if not hits or not misses:
        return float("nan")
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(count) - (count - 1) / 2
    above = float(ranks[place][positive].sum()) - hits * (hits + 1) / 2
    return above / (hits * misses)


def reliability(
    confidence: NDArray[np.float64], hit: NDArray[np.bool_]
) -> list[tuple[float, float, int]]:
    """Mean confidence, share of hits and rows of 15 bins of the likeliest label's probability;
    bins without a row are left out."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        (float(confidence[own].mean()), float(hit[own].mean()), int(own.sum()))
        for own in (bins == each for each in np.unique(bins))
    ]


def calibration_error(bins: Sequence[tuple[float, float, int]]) -> float:
    """Guo's (1706.04599): |share of hits - mean confidence| of each bin of `reliability`, their
    mean weighted by rows."""
    gaps = [rows * abs(share - confidence) for confidence, share, rows in bins]
    return sum(gaps) / max(sum(rows for *_, rows in bins), 1)


def best_labels(shares: NDArray[np.float64], two_class: bool) -> NDArray[np.int64]:
    """The likeliest label of each row; of the two outer ones where the set knows no neutral."""
    if two_class:
        shares = shares.copy()
        shares[:, NEUTRAL] = -1.0
    best: NDArray[np.int64] = np.argmax(shares, axis=1)
    return best


def score(truth: NDArray[np.int64], found: NDArray[np.int64], two_class: bool) -> Scores:
    """Accuracy, and F1 averaged over the set's labels (a label that never occurs counts 0)."""
    return score_labels(truth, found, labels_of(two_class))


def score_labels(
    truth: NDArray[np.int64], found: NDArray[np.int64], labels: Sequence[tuple[int, str]]
) -> Scores:
    """Accuracy and macro-F1 over `labels`, each a number and its name."""
    each = [one.f1 for one in per_label(truth, found, labels).values()]
    accuracy = float(np.mean(truth == found)) if len(truth) else 0.0
    return Scores(len(truth), round(accuracy, 4), round(float(np.mean(each)), 4))


def per_label(
    truth: NDArray[np.int64], found: NDArray[np.int64], labels: Sequence[tuple[int, str]]
) -> dict[str, OfLabel]:
    """Precision, recall, F1 and rows of each label; what divides by nothing is 0."""
    report = {}
    for number, name in labels:
        hits = int(np.sum((truth == number) & (found == number)))
        rows, named = int(np.sum(truth == number)), int(np.sum(found == number))
        report[name] = OfLabel(
            precision=hits / named if named else 0.0,
            recall=hits / rows if rows else 0.0,
            f1=2 * hits / (rows + named) if rows + named else 0.0,
            rows=rows,
        )
    return report


def labels_of(two_class: bool) -> list[tuple[int, str]]:
    """Number and name of the sentiments that a set knows."""
    return [each for each in enumerate(LABELS) if not (two_class and each[0] == NEUTRAL)]
