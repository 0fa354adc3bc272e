"""What the classifier is held against learns, and from the rows that it is said to learn from."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.classifier import Classifier
from models.data import Comment, LabelledSet
from models.peers import PEERS, train_peer
from models.sampling import draw, draw_counts

WORDS = {0: ("terrible", "太差"), 1: ("starts on Monday", "星期一开始"), 2: ("wonderful", "很好")}


def sets() -> list[LabelledSet]:
    comments = tuple(
        Comment(f"lesson {n} {words[n % 2]}", label)
        for n in range(60)
        for label, words in WORDS.items()
    )
    return [LabelledSet("own.csv", two_class=False, train=comments, test=())]


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_learns_what_the_rows_say(name: str, trunk: Path, classifier: Classifier) -> None:
    manifest = msgspec.structs.replace(classifier.manifest, trained_rows={"own.csv": 120})
    answer = train_peer(name, sets(), manifest, trunk)
    shares = answer(["lesson 7 terrible", "lesson 8 星期一开始", "lesson 9 wonderful"])
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-4)
    assert shares.argmax(axis=1).tolist() == [0, 1, 2]


def test_the_probe_sees_the_rows_that_the_trunk_was_shown() -> None:
    rows, counts = draw(sets(), 90, np.random.default_rng(3))
    assert counts == {"own.csv": 90}
    assert draw_counts(sets(), counts, np.random.default_rng(3)) == rows
