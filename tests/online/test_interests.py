"""Declared interests: topics, skills and free words, matched with items, until behaviour speaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from online.content_items import ItemContent
from online.content_terms import terms_of
from online.interests import LAST, fading
from online.learner import Learner, LearnerConfig

SUBJECTS = ("music", "cooking", "python")
ITEMS = [f"i{n}" for n in range(60)]


def subject(item: str) -> str:
    return SUBJECTS[int(item[1:]) % 3]


@pytest.fixture(params=["scan", "candidates"])
def shop(request: Any) -> Learner:
    """Sixty items of three subjects, each with a skill; early items are taken more."""
    learner = Learner(LearnerConfig(scan_up_to=1024 if request.param == "scan" else 0))
    said = [terms_of(f"{subject(i)} lesson {i}", [f"skill={subject(i)} basics"]) for i in ITEMS]
    learner.put_content(ItemContent(ITEMS, said, None))
    for item in ITEMS:
        learner.put_item(item, [f"{subject(item)}-topic"], True)
    rng = np.random.default_rng(0)
    taken = np.minimum(rng.exponential(15, 400).astype(int), 59)
    users = [f"u{u}" for u in rng.integers(30, size=400)]
    learner.learn(0, users, [ITEMS[t] for t in taken], np.zeros(400, np.int8), np.arange(400.0))
    return learner


@pytest.mark.parametrize("interest", ["music-topic", "music", "music basics", "lessons in music"])
def test_a_new_user_sees_what_he_named(shop: Learner, interest: str) -> None:
    shop.put_profile(0, "new", [interest], True)
    top = shop.top_k("new", 6)
    assert top.policy == "interests"
    assert {subject(item) for item in top.items} == {"music"}


def test_interests_lift_items_beside_a_short_history_and_no_longer_one(shop: Learner) -> None:
    def share(user: str) -> float:
        return float(np.mean([subject(item) == "python" for item in shop.top_k(user, 10).items]))

    before = share("u3")
    shop.put_profile(0, "u3", ["python"], True)
    much = shop.top_k("u3", 10).items
    assert shop.top_k("u3").policy == "blend"
    shop.learn(0, ["short"], ["i0"], np.zeros(1, np.int8), np.zeros(1))
    plain = share("short")
    shop.put_profile(0, "short", ["python"], True)
    assert share("short") > plain
    assert before <= np.mean([subject(item) == "python" for item in much]) + 1e-9
    assert fading(1) > fading(5) > fading(LAST - 1) > fading(LAST) == 0


def test_words_that_no_item_says_change_nothing(shop: Learner) -> None:
    plain = shop.top_k("u3", 20).items
    shop.put_profile(0, "u3", ["astrology"], True)
    assert shop.top_k("u3", 20).items == plain
    shop.put_profile(0, "new", ["astrology", ""], True)
    assert shop.top_k("new").policy == "popular"


def test_an_item_that_gets_the_topic_is_met_at_once(shop: Learner) -> None:
    shop.put_profile(0, "new", ["gardening"], True)
    assert shop.top_k("new").policy == "popular"
    shop.put_item("i58", ["gardening"], True)
    assert shop.top_k("new").items[0] == "i58"
    shop.put_profile(0, "new", [f"t{n}" for n in range(63)] + ["gardening"], True)
    assert shop.top_k("new").items[0] == "i58"
