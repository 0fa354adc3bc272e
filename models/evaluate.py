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
from models.data import Comment, LabelledSet
from models.measures import Quality, best_labels, quality, score
from models.ngrams import NGrams
from models.registry import Scores

PIECE = 512  # told of by the progress
AT_ONCE = 4_096  # texts that are tokenised together: of millions the tokens would fill the memory


def evaluate(
    classifier: Classifier,
    sets: Sequence[LabelledSet],
    rows: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Quality]:
    """How well every set's test part is read.

    Args:
        rows: at most so many test rows of each set, 0: all (see `test_rows`).
        progress: called with the number of comments just scored.
    """
    measured = {}
    for each in sets:
        comments = test_rows(each, rows)
        shares: list[NDArray[np.float64]] = []
        for start in range(0, len(comments), PIECE):
            piece = comments[start : start + PIECE]
            shares.append(probabilities(classifier, [comment.text for comment in piece]))
            progress(len(piece))
        truth = np.array([comment.label for comment in comments])
        measured[each.name] = quality(truth, np.concatenate(shares), each.two_class)
    return measured


def probabilities(classifier: Classifier, texts: Sequence[str]) -> NDArray[np.float64]:
    """Negative, neutral and positive of each text, [texts, 3]."""
    pieces = (texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE))
    answers = (one for piece in pieces for one in classifier.predict(piece))
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
