"""The n-gram expert: its table, its training, and its place beside the trunk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.classifier import Classifier
from models.errors import ArtifactError
from models.ngrams import BITS, NGrams, buckets
from models.ngrams_training import train_ngrams
from models.sampling import TrainingRow
from models.stacking import fit_stack, trunk_logits

NEGATIVE, NEUTRAL, POSITIVE = 0, 1, 2


def rows(count: int) -> list[TrainingRow]:
    good, bad = ("很好 excellent course", POSITIVE), ("太差 waste of money", NEGATIVE)
    return [
        TrainingRow(f"{text} {index}", label, two_class=True)
        for index in range(count)
        for text, label in (good, bad)
    ]


@given(st.text(max_size=200))
def test_every_text_has_buckets_in_range_each_once(text: str) -> None:
    found = buckets(text)
    assert np.all(np.diff(found) > 0)
    assert not len(found) or (found[0] >= 0 and found[-1] < 2**BITS)


def test_words_and_han_characters_count_singly_in_twos_and_in_threes() -> None:
    assert len(buckets("one two three")) == 6
    assert len(buckets("很好看")) == 6
    assert set(buckets("not good")) >= set(buckets("good"))
    assert set(buckets("good not")) != set(buckets("not good"))


def test_it_learns_and_says_nothing_about_neutral_from_two_class_rows(tmp_path: Path) -> None:
    table = train_ngrams(rows(300), seed=0)
    praise, blame, unknown = table.logits(["excellent course", "waste", "qwerty"])
    assert praise[POSITIVE] > praise[NEGATIVE]
    assert blame[NEGATIVE] > blame[POSITIVE]
    assert praise[NEUTRAL] == blame[NEUTRAL] == unknown[NEUTRAL] == 0
    table.save(tmp_path / "table")
    again = NGrams.load(tmp_path / "table")
    np.testing.assert_array_equal(again.kept, table.kept)
    np.testing.assert_allclose(again.logits(["waste"]), table.logits(["waste"]), rtol=1e-6)


def test_the_same_seed_makes_the_same_table() -> None:
    first, second = train_ngrams(rows(100), seed=3), train_ngrams(rows(100), seed=3)
    np.testing.assert_array_equal(first.weights, second.weights)


def test_a_table_of_another_shape_is_refused(tmp_path: Path) -> None:
    table = NGrams(np.arange(3), np.zeros((2, 3), np.int8), 1.0, np.zeros(3, np.float32))
    table.save(tmp_path / "table")
    with pytest.raises(ArtifactError, match="another shape"):
        NGrams.load(tmp_path / "table")


def test_an_expert_of_noise_gets_no_weight_and_one_that_knows_gets_it() -> None:
    generator = np.random.default_rng(0)
    group = rows(200)
    truth = np.zeros((len(group), 3), np.float32)
    truth[np.arange(len(group)), [row.label for row in group]] = 2
    noise = generator.normal(0, 2, truth.shape).astype(np.float32)
    assert fit_stack(truth, noise, [group])[0] == 0.0
    assert fit_stack((noise / 8).astype(np.float32), truth, [group])[0] > 0.5


def test_the_expert_changes_answers_and_not_the_trunk(classifier: Classifier) -> None:
    assert classifier.manifest.stack is not None
    texts = ["物流很快，包装完好", "Never again, waste of money"]
    weight, temperature = classifier.manifest.stack.weight, classifier.manifest.stack.temperature
    assert classifier.ngrams is not None
    whole = temperature * (
        trunk_logits(classifier, texts) + weight * classifier.ngrams.logits(texts)
    )
    powers = np.exp(whole - whole.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    found = [(one.negative, one.neutral, one.positive) for one in classifier.predict(texts)]
    np.testing.assert_allclose(found, shares, atol=0.04)  # bf16
