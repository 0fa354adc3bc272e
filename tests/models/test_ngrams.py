"""The n-gram expert: its table, its training, and its place beside the trunk."""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.classifier import Classifier
from models.errors import ArtifactError
from models.ngrams import BITS, NGrams, buckets
from models.ngrams_training import train_ngrams
from models.registry import Stack
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


@given(
    hnp.arrays(
        np.int8, st.tuples(st.integers(1, 40), st.integers(2, 4)), elements=st.integers(-7, 7)
    ),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_a_table_comes_back_as_it_was_kept(
    weights: np.ndarray, against_second: bool, random: Random
) -> None:
    if against_second:
        weights[:, 1] = 0
    weights[::3, 0] = -weights[::3, -1]
    kept = np.sort(random.sample(range(2**BITS if len(weights) % 2 else 60), len(weights)))
    table = NGrams(kept, weights, 0.5, np.zeros(weights.shape[1], np.float32))
    again = NGrams.of(table.tensors(), Path("table"))
    np.testing.assert_array_equal(again.kept, kept)
    np.testing.assert_array_equal(again.weights, weights)


def test_an_expert_that_is_wrong_gets_no_weight_and_one_that_knows_gets_it() -> None:
    generator = np.random.default_rng(0)
    group = rows(200)
    noise = generator.normal(0, 0.25, (len(group), 3)).astype(np.float32)
    truth = np.zeros_like(noise)
    truth[np.arange(len(group)), [row.label for row in group]] = 2
    knows = train_ngrams(rows(300), seed=0)
    wrong = [msgspec.structs.replace(row, label=POSITIVE - row.label) for row in rows(300)]
    assert fit_stack(noise, knows, [group]).weight > 0.5
    assert fit_stack(truth, train_ngrams(wrong, seed=0), [group]).weight == 0.0


def test_a_longer_text_is_trusted_less() -> None:
    trust = Stack(0.5, 1.0, length=0.5).trust(np.array([100, 400, 0]))
    np.testing.assert_allclose(trust, [[0.5], [0.25], [5.0]])
    table = train_ngrams(rows(100), seed=0)
    logits, grams = table.read(["excellent qwerty", ""])
    assert grams.tolist() == [3, 0]
    way = Stack(0.5, 1.0)
    np.testing.assert_allclose(table.trusted(["excellent qwerty"], way), logits[:1] / 2)


def test_the_expert_changes_answers_and_not_the_trunk(classifier: Classifier) -> None:
    assert classifier.manifest.stack is not None
    texts = ["物流很快，包装完好", "Never again, waste of money"]
    stack = classifier.manifest.stack
    assert classifier.ngrams is not None
    trunk = trunk_logits(classifier, texts)
    whole = stack.temperature * (trunk + classifier.ngrams.trusted(texts, stack))
    powers = np.exp(whole - whole.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    found = [(one.negative, one.neutral, one.positive) for one in classifier.predict(texts)]
    np.testing.assert_allclose(found, shares, atol=0.04)  # bf16
