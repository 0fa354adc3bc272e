"""`springtide evaluate`: hold our figures against a file of your own."""

from __future__ import annotations

from streams.commands.lazy_group import lazy_group

WHAT = {
    "lists": "Top-K lists, test-then-learn, against conventional recommenders.",
    "new-users": "What declared interests bring to users with little history.",
    "text-ranker": "A text ranker in the learner's lists, with and without; promoted if it helps.",
    "sessions": "The next item of anonymous sessions, by the ADER protocol.",
    "workers": "What several workers lose against one that sees every event at once.",
    "spikes": "The spike detectors: false alarms, recall and delay, against conventional rules.",
    "sentiment": "The comment classifier on labelled comments.",
    "topics": "The topic heads on labelled texts.",
    "retrieval": "The trunk's vectors at finding the right question of an FAQ.",
}


def group() -> None:
    """Measure quality on a file of yours. Example: springtide evaluate lists --help"""


app = lazy_group("evaluate", WHAT, group)
