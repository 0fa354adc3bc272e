"""What a list shows, and what it never shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from online.learner import Kind, Learner

CROWD = [f"u{n} {item}" for n in range(12) for item in ("a", "b", "c", "d")]


@pytest.fixture
def crowd(learner: Learner, learn: Any) -> Learner:
    """Twelve users who all went a, b, c, d."""
    learn(learner, *CROWD)
    return learner


def test_seen_items_are_never_listed(learner: Learner, stream: Any) -> None:
    stream.learn(learner)
    for user in sorted(set(stream.users)):
        seen = {i for u, i in zip(stream.users, stream.items, strict=True) if u == user}
        listed = learner.top_k(user, 200).items
        assert seen.isdisjoint(listed)
        assert len(listed) == len(set(stream.items) - seen - only_disliked(stream))


def only_disliked(stream: Any) -> set[str]:
    """Items that got nothing but negative comments: nobody recommends them."""
    liked = {
        i for i, k in zip(stream.items, stream.kinds, strict=True) if Kind(k) is not Kind.NEGATIVE
    }
    return set(stream.items) - liked


def test_a_negative_comment_removes_the_item_at_once(crowd: Learner, learn: Any) -> None:
    learn(crowd, "new a")
    assert "b" in crowd.top_k("new").items
    learn(crowd, "new b", kind=Kind.NEGATIVE)
    assert "b" not in crowd.top_k("new").items


def test_a_negative_comment_weighs_neighbours_down(make_learner: Any, learn: Any) -> None:
    pairs = [f"{t}{n} {t}{i}" for n in range(15) for i in range(8) for t in "xy"]
    places = []
    for disliked in (False, True):
        learner = make_learner()
        learn(learner, *pairs, "me x0", "me y0")
        if disliked:
            learn(learner, "me x1", kind=Kind.NEGATIVE)
        else:
            learn(learner, "other z")
        scores = dict(zip(*learner.top_k("me")[:2], strict=True))
        xs = [scores[f"x{i}"] for i in range(2, 8)]
        ys = [scores[f"y{i}"] for i in range(2, 8)]
        places.append(np.mean(xs) - np.mean(ys))
    assert places[1] < places[0] - 0.5


def test_unavailable_items_are_neither_listed_nor_similar(crowd: Learner) -> None:
    assert "d" in crowd.top_k("nobody").items
    crowd.put_item("d", [], available=False)
    assert "d" not in crowd.top_k("nobody").items
    assert "d" not in crowd.top_k("u1").items
    assert "d" not in crowd.similar("a").items
    crowd.put_item("d", [], available=True)
    assert "d" in crowd.top_k("nobody").items


def test_a_new_user_gets_the_popular_list_at_once(crowd: Learner, learn: Any) -> None:
    learn(crowd, *(f"v{n} hit" for n in range(30)))
    top = crowd.top_k("never-seen")
    assert top.policy == "popular"
    assert top.items == crowd.popular().items
    assert top.items[0] == "hit"


def test_declared_interests_come_first_for_a_new_user(crowd: Learner, learn: Any) -> None:
    for item, topics in {"a": ["law"], "b": ["art"], "c": ["art", "law"], "d": []}.items():
        crowd.put_item(item, topics, available=True)
    crowd.put_item("unseen", ["art"], available=True)
    crowd.put_profile(0, "new", ["art"], personalise=True)
    top = crowd.top_k("new")
    assert top.policy == "interests"
    assert set(top.items[:3]) == {"b", "c", "unseen"}
    assert top.items[2] == "unseen"  # nobody took it yet
    assert set(top.items) == {"a", "b", "c", "d", "unseen"}


def test_interests_still_count_after_the_first_events(crowd: Learner, learn: Any) -> None:
    learn(crowd, *(f"w{n} {i}" for n in range(12) for i in ("e", "f", "g")))
    crowd.put_item("g", ["art"], available=True)
    learn(crowd, "plain zz", "keen zz")
    crowd.put_profile(0, "keen", ["art"], personalise=True)
    place = {user: crowd.top_k(user).items.index("g") for user in ("plain", "keen")}
    assert place["keen"] == 0 or place["keen"] < place["plain"]


def test_interests_nobody_offers_mean_the_popular_list(crowd: Learner) -> None:
    crowd.put_profile(0, "new", ["astrology"], personalise=True)
    assert crowd.top_k("new").policy == "popular"


def test_who_does_not_want_it_is_not_personalised(crowd: Learner) -> None:
    assert crowd.personalised(0, ["u1"]) == [True]
    crowd.put_profile(0, "u1", [], personalise=False)
    assert crowd.personalised(0, ["u1"]) == [False]
    assert crowd.top_k("u1").items == crowd.popular().items
    assert set(crowd.popular().items) == set("abcd")
    crowd.put_profile(0, "u1", [], personalise=True)
    assert crowd.top_k("u1").policy == "blend"


def test_lists_made_at_once_are_those_made_one_by_one(crowd: Learner, learn: Any) -> None:
    for item, topics in {"a": ["law"], "b": ["art"], "c": ["art", "law"]}.items():
        crowd.put_item(item, topics, available=True)
    learn(crowd, "plain a", "keen a", "wide a")
    crowd.put_profile(0, "keen", ["art"], personalise=True)
    crowd.put_profile(0, "wide", ["law", "art"], personalise=True)
    crowd.put_profile(0, "new", ["art"], personalise=True)
    crowd.put_profile(0, "odd", ["astrology"], personalise=True)
    crowd.put_profile(0, "u1", [], personalise=False)
    users = ["u2", "keen", "nobody", "new", "u1", "plain", "odd", "wide", "keen"]
    for user, top in zip(users, crowd.top_ks(0, users, 3), strict=True):
        alone = crowd.top_k(user, 3)
        assert (top.items, top.policy) == (alone.items, alone.policy)
        assert top.scores.tolist() == alone.scores.tolist()


def test_a_purchase_weighs_more_than_a_click(make_learner: Any, learn: Any) -> None:
    learner = make_learner()
    for n in range(40):
        learn(learner, f"p{n} seed", f"c{n} seed")
        learn(learner, f"p{n} bought", kind=Kind.PURCHASE)
        learn(learner, f"c{n} clicked")
    learn(learner, "me seed")
    items = learner.top_k("me").items
    assert items.index("bought") < items.index("clicked")
    assert learner.similar("seed").items[0] == "bought"


def test_similar_items_are_those_taken_together(learner: Learner, learn: Any) -> None:
    learn(learner, *(f"{t}{n} {t}-{i}" for n in range(6) for t in "xy" for i in range(5)))
    similar = learner.similar("x-2")
    assert similar.policy == "similar"
    assert set(similar.items) == {"x-0", "x-1", "x-3", "x-4"}
    assert learner.similar("unheard-of").items == []


def test_a_list_is_as_long_as_asked(learner: Learner, stream: Any) -> None:
    stream.learn(learner)
    for k in (1, 10, 50):
        assert len(learner.top_k("u1", k).items) == k
    assert learner.top_k("u1", 10).items == learner.top_k("u1", 50).items[:10]


def test_an_empty_learner_lists_nothing(learner: Learner) -> None:
    assert learner.top_k("anyone").items == []
    assert learner.popular().items == []
    assert learner.similar("anything").items == []


def test_asking_changes_nothing(make_learner: Any, stream: Any) -> None:
    asked, silent = make_learner(), make_learner()
    for a in range(0, 1_500, 50):
        part = stream.where((np.arange(1_500) >= a) & (np.arange(1_500) < a + 50))
        left, right = part.learn(asked), part.learn(silent)
        np.testing.assert_array_equal(left.ranks, right.ranks)
        asked.top_k("u2")
        asked.popular()
        asked.similar("i3")
        asked.partition_state(0)


def test_the_list_is_the_ranking_that_was_measured(make_learner: Any, stream: Any) -> None:
    learner, checked = make_learner(), 0
    for e in range(1_500):
        one = stream.where(np.arange(1_500) == e)
        listed = learner.top_k(one.users[0], 100).items
        rank = int(one.learn(learner).ranks[0])
        if 0 < rank <= len(listed):
            assert listed[rank - 1] == one.items[0]
            checked += 1
    assert checked > 700


def test_an_item_that_is_withdrawn_before_anybody_took_it_is_not_listed(
    make_learner: Any, learn: Any
) -> None:
    learner = make_learner(max_items=3)
    learner.withdraw_item("gone")  # no slot for what only a catalogue's tombstone names
    assert learner.items == 0
    learn(learner, "u a", "u gone", "v a", "v gone", "w b")  # an old link
    assert "gone" not in learner.top_k("w").items + learner.popular().items
    learner.put_item("gone", [], available=True)
    assert "gone" in learner.popular().items
    learner.withdraw_item("gone")
    assert "gone" not in learner.popular().items
    assert learner.items == 3


def test_an_item_withdrawn_stays_out_when_a_partition_comes_with_it(
    make_learner: Any, learn: Any
) -> None:
    old, new = make_learner(), make_learner()
    learn(old, "u a", "u gone", "v b")
    new.withdraw_item("gone")
    new.load_partition(0, old.partition_state(0))
    assert set(new.popular().items) == {"a", "b"}
