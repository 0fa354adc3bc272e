"""Sentiment and topics trained together: one adapter, and no set's rows move another's outputs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from models import registry
from models.card import CARD, write_card
from models.classifier import Classifier
from models.data import Comment, LabelledSet
from models.finetune import train_sentiment
from models.sampling import draw_topics, topic_counts, topic_places
from models.session import Session
from models.topic_data import TopicSet
from models.topic_training import add_topics, train_head
from tests.models.small import ROWS

# What the lessons of `ROWS` are called: one of two words, or one of three others.
TOPIC = TopicSet(
    "words",
    ("two", "three"),
    tuple(Comment(row.text, int(int(row.text.split()[1]) % 5 > 1)) for row in ROWS),
    (),
)
OTHER = TopicSet("other", ("a", "b", "c"), tuple(Comment(row.text, 2) for row in ROWS), ())


def test_topics_are_drawn_at_the_rate_of_comments() -> None:
    comments = LabelledSet("own", True, (Comment("x", 0),) * 1_000, ())
    large = TopicSet("large", ("a", "b"), (Comment("x", 0),) * 32_000, ())
    counts = topic_counts([TOPIC, large], [comments], 100)
    assert counts == {TOPIC.name: round(100 * (60 / 1_000) ** 0.3), "large": 283}
    assert topic_counts([TOPIC], [comments], 1_000) == {TOPIC.name: len(TOPIC.train)}


def test_every_label_set_has_outputs_of_its_own() -> None:
    rows = draw_topics([TOPIC, OTHER], {TOPIC.name: 40, OTHER.name: 10}, seed=1)
    assert [row.outputs for row in rows] == [(3, 5)] * 40 + [(5, 8)] * 10
    assert all(row.outputs[0] <= row.label < row.outputs[1] for row in rows)
    assert {row.label for row in rows} == {3, 4, 7}
    texts = [TOPIC.train[at].text for at in topic_places(TOPIC, 40, 1)]
    assert [row.text for row in rows[:40]] == texts
    assert len(set(texts)) == 40


def test_one_adapter_learns_both(small_trunk: Path) -> None:
    torch.manual_seed(0)
    rows = [*ROWS, *draw_topics([TOPIC], {TOPIC.name: 60}, seed=0)]
    session = Session(small_trunk, rows, "lora")
    places = {"sentiment": range(len(ROWS)), "topic": range(len(ROWS), len(rows))}

    def losses() -> dict[str, float]:
        return {
            name: session.loss(session.vectors([session.ids[at] for at in own]), own).item()
            for name, own in places.items()
        }

    before = losses()
    session.train(25, np.random.default_rng(0), lambda step, steps, loss: None)
    after = losses()
    assert all(after[name] < 0.8 * before[name] for name in places), (before, after)
    assert session.heads()["sentiment.weight"].shape == (3, 32)


@pytest.mark.parametrize(("batch", "theirs"), [((0, 1), (3, 4)), ((60, 61), (0, 1, 2))])
def test_a_row_moves_no_output_of_another_label_set(
    batch: tuple[int, ...], theirs: tuple[int, ...], small_trunk: Path
) -> None:
    session = Session(small_trunk, [*ROWS, *draw_topics([TOPIC], {TOPIC.name: 9}, 0)], "head")
    vectors = session.vectors([session.ids[at] for at in batch])
    session.loss(vectors, batch).backward()  # type: ignore[no-untyped-call]
    moved = session.head.weight.grad.abs().sum(1)
    assert moved[list(theirs)].sum() == 0
    assert moved.sum() > 0


def test_rows_that_the_adapter_saw_choose_nothing_of_a_head() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 2_000)
    vectors = generator.normal(0, 1, (2_000, 8)).astype(np.float32)
    seen = generator.permutation(2_000)[:1_000]
    vectors[seen, labels[seen]] += 5  # learned by heart
    rows = tuple(Comment("nothing", label) for label in labels.tolist())
    topic = TopicSet("own", ("a", "b"), rows, ())
    by_heart = train_head(topic, vectors, seed=0)
    careful = train_head(topic, vectors, seed=0, shown=set(seen.tolist()))
    assert careful.stack.temperature < by_heart.stack.temperature


def test_an_artifact_of_both_says_what_it_was_fitted_to(small_trunk: Path, tmp_path: Path) -> None:
    comments, topics = tmp_path / "own.csv", tmp_path / "words.csv"
    words = {0: "negative", 2: "positive"}
    written(comments, [(row.text, words[row.label]) for row in ROWS])
    written(topics, [(row.text, TOPIC.labels[row.label]) for row in TOPIC.train])
    out = tmp_path / "model"
    manifest, _ = train_sentiment(comments, out, small_trunk, topics=topics, epochs=1, threads=1)
    assert list(manifest.trained_rows) == ["own.csv"]
    assert list(manifest.topic_rows) == [TOPIC.name]
    assert manifest.topic_rows[TOPIC.name] >= 50
    assert registry.read_tensors(out / registry.HEADS)["sentiment.bias"].shape == (3,)
    classifier = Classifier(small_trunk, out, device="cpu", dtype="float32", threads=1)
    whole = add_topics(
        classifier, out, [TopicSet(TOPIC.name, TOPIC.labels, TOPIC.train, TOPIC.train[:9])]
    )
    assert whole.topic_rows == manifest.topic_rows
    rows = sum(manifest.trained_rows.values()) + sum(manifest.topic_rows.values())
    assert f"over {rows} rows" in write_card(out, whole).read_text("utf-8")
    assert (out / CARD).exists()


def written(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([("text", "label"), *rows])
