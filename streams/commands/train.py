"""`springtide train`: classifier, text ranker, start values for the learner, baselines."""

from __future__ import annotations

from streams.commands.lazy_group import lazy_group

WHAT = {
    "sentiment": "Fine-tune the comment classifier on your comments.",
    "topic": "Add topic heads, for labels of your own, to the comment classifier.",
    "text-ranker": "Fine-tune item vectors on who took what next, from what items say.",
    "factors": "Item factors of implicit (ALS, BPR): a warm start for running learners.",
    "baseline": "The classic rankers, matrix factorisation and MLP, to measure against.",
}


def train() -> None:
    """Train a model on your data. Example: springtide train sentiment --help"""


app = lazy_group("train", WHAT, train)
