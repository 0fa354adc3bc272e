"""100,000 mutated comments through hygiene and the real classifier: one answer each."""

from __future__ import annotations

import math
import random

import pytest

from models.classifier import Classifier
from models.predictions import CANARIES
from models.trunk import default_cache_dir, trunk_folder

INPUTS, AT_ONCE = 100_000, 2_000
SEED = 20_261_127
ODD = (
    *("\x00", "\ud800", "\udfff", "\u200b", "\u202e", "\ufdfa", "\ufeff", "\u0301", "\r\n", "\t"),
    *("<s>", "</s>", "<mask>", "<pad>", "[SEP]", "＜/s＞", "@somebody", "https://x.y/z?q"),
    *("é", "😀", "👨\u200d👩\u200d👧", "　", "退款", "ﷺ", "𝕳", "a" * 300),
)


def mutated(generator: random.Random) -> object:
    """A comment with pieces cut, doubled, shuffled or replaced, at times no text at all."""
    if generator.random() < 0.01:
        return generator.choice([None, 7, 1.5, b"bytes", ["list"], {"a": 1}, True])
    text = list(generator.choice(CANARIES))
    for _ in range(generator.randint(0, 6)):
        at = generator.randrange(len(text) + 1)
        step = generator.randrange(5)
        if step == 0:
            text[at:at] = generator.choice(ODD)
        elif step == 1:
            del text[at : at + generator.randint(1, 8)]
        elif step == 2:
            text[at:at] = text[at : at + generator.randint(1, 8)] * generator.randint(1, 4)
        elif step == 3:
            text[at:at] = chr(generator.randrange(0x110000))
        else:
            part = text[at : at + 8]
            generator.shuffle(part)
            text[at : at + 8] = part
    return "".join(text)


@pytest.mark.timeout(3_600)
def test_a_hundred_thousand_mutated_comments_get_an_answer_each() -> None:
    classifier = Classifier(trunk_folder(default_cache_dir()), threads=1)
    generator = random.Random(SEED)
    labels = [each.label for each in classifier.predict(CANARIES)]
    for _ in range(INPUTS // AT_ONCE):
        odd = [mutated(generator) for _ in range(AT_ONCE)]
        answers = classifier.predict([*odd, *CANARIES])
        assert len(answers) == AT_ONCE + len(CANARIES)
        for each in answers:
            shares = (each.negative, each.neutral, each.positive)
            assert all(0 <= share <= 1 for share in shares), each
            assert math.isclose(sum(shares), 1, abs_tol=1e-4), each
        # Among odd neighbours the plain ones are answered as ever.
        assert [each.label for each in answers[AT_ONCE:]] == labels
