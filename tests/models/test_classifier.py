from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.classifier import Classifier
from models.encoder import as_tensors, load_tokenizer, load_trunk, pooled
from models.forward import Forward
from models.layouts import Padded
from models.packing import shortened
from models.predictions import CANARIES
from models.shape import read_trunk

any_text = st.text(st.characters(exclude_categories=()), max_size=40)


def test_plain_praise_and_blame_are_told_apart_in_both_languages(classifier: Classifier) -> None:
    labels = [each.label for each in classifier.predict(CANARIES)]
    assert labels == ["positive", "negative", "neutral", "positive", "negative", "neutral"]


def test_probabilities_sum_to_one_and_name_the_likeliest(classifier: Classifier) -> None:
    for each in classifier.predict(CANARIES):
        shares = {"negative": each.negative, "neutral": each.neutral, "positive": each.positive}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert each.label == max(shares, key=lambda name: shares[name])


def test_a_batch_answers_like_single_questions(classifier: Classifier) -> None:
    long = "The second part repeats the first, and the exercises do not fit the lectures. " * 9
    texts = [*CANARIES, "no", long, *(f"lesson {i} was not worth it" for i in range(80))]
    together = classifier.predict(texts)
    for text, batched in zip(texts[:12], together, strict=False):
        alone = classifier.predict([text])[0]
        # bf16 carries 8 bits: padding moves a probability a little, never an opinion.
        assert abs(alone.negative - batched.negative) < 0.03
        assert abs(alone.positive - batched.positive) < 0.03


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(st.none(), st.integers(), any_text), max_size=12))
def test_no_item_harms_its_neighbour(classifier: Classifier, odd: list[object]) -> None:
    good, bad = CANARIES[0], CANARIES[1]
    answers = classifier.predict([good, *odd, "</s><mask>" * 200, bad])

    assert len(answers) == len(odd) + 3
    assert answers[0].label == "positive"
    assert answers[-1].label == "negative"
    assert all(np.isfinite([each.negative, each.positive]).all() for each in answers)


def test_nothing_to_read_is_neutral_and_flagged(classifier: Classifier) -> None:
    for each in classifier.predict(["", "😀", None, 7, "\ud800"]):
        assert each.flagged
        assert (each.label, each.neutral) == ("neutral", 1.0)


def test_a_long_text_is_cut_and_keeps_its_end_token(classifier: Classifier) -> None:
    prepared = classifier.prepare(["word " * 100_000, "word"])
    assert len(prepared[0].ids) == classifier.manifest.max_tokens
    assert prepared[0].ids[-1] == prepared[1].ids[-1]
    assert shortened([0, 5, 6, 7, 2], 3) == [0, 5, 2]


def test_the_serving_forward_pass_is_that_of_transformers(trunk: Path) -> None:
    rows = [each.ids for each in load_tokenizer(trunk, 80).encode_batch(list(CANARIES))]
    shape, weights = read_trunk(trunk)
    ids, mask = as_tensors(rows, shape.pad_token_id, "cpu")
    ours = Forward(shape, weights, "cpu", "float32").vectors(Padded(rows, 1, "cpu"))
    np.testing.assert_allclose(ours, pooled(load_trunk(trunk), ids, mask), atol=1e-4)


def test_embeddings_come_from_the_trunk_alone_and_cross_languages(classifier: Classifier) -> None:
    texts = ["how do I get my money back", "我怎样才能退款", "the weather is nice today"]
    vectors = classifier.embed(classifier.prepare_embedding(texts))

    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
