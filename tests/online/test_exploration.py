"""Exploration's slots: where they are, what is in them, how likely, and when they end."""

from __future__ import annotations

import numpy as np
import pytest

from online.exploration import (
    NO_PLAN,
    New,
    Plan,
    Rules,
    explore,
    finished,
    gain_tables,
    make_plan,
    propensities,
    relative_popularity,
    seed_of,
    wanted,
)
from online.topk import TopK

RULES = Rules(every=20)
DAY = 86_400.0
LIST = [f"i{n}" for n in range(50)]


def new(item: str, views: int = 0, clicks: float = 0, near: str = "", age: float = DAY) -> New:
    return New(item, -age, views, clicks, {near: 1.0} if near else {})


def plan(*news: New, seed: int = 1) -> Plan:
    return make_plan(news, RULES, 0.0, 0.05, seed)


def nobody(_: str) -> bool:
    return False


def test_one_slot_in_twenty_places_anywhere_in_them() -> None:
    made = plan(*(new(f"n{n}") for n in range(8)))
    places = []
    for user in range(400):
        found = explore(LIST, made, RULES, seed_of("t", user, 1, 1), nobody)
        assert len(found.items) == len(set(found.items)) == 50
        assert [item for item in found.items if item.startswith("i")] == [
            i for i in LIST if i in found.items
        ]
        at = [place for place, _ in found.slots]
        assert [found.items[place][0] for place in at] == ["n"] * len(at)
        assert [place // 20 for place in at][:2] == [0, 1]
        places.append(at[0])
    counts = np.bincount(places, minlength=20)
    assert counts.min() > 5
    assert counts.max() < 45


def test_propensities_sum_to_one_and_say_how_often() -> None:
    made = plan(new("a"), new("b", near="i0"), new("c", views=60, clicks=0), new("d", near="i3"))
    weights = np.array([1.0, 5.0, 1.0, 5.0])
    shares = propensities(made, weights)
    assert abs(shares.sum() - 1) < 1e-6
    assert propensities(made, np.array([-1.0, 1.0, 1.0, 1.0]))[0] == 0
    shown = []
    for user in range(2_000):
        found = explore(LIST[:10], made, RULES, seed_of("t", user, 1, 1), nobody)
        for place, propensity in found.slots:
            item = found.items[place]
            shown.append(item)
            assert propensity == pytest.approx(shares[made.items.index(item)])
    for number, item in enumerate(made.items):
        assert shown.count(item) / len(shown) == pytest.approx(shares[number], abs=0.05)
    assert shares[1] > shares[2]  # near to the list's best, and not yet shown in vain


def test_the_same_seeds_give_the_same_lists() -> None:
    news = [new(f"n{n}", views=n) for n in range(6)]
    seeds = [seed_of("t", f"u{n}", 3, n) for n in range(50)]
    first, again = (
        [explore(LIST, plan(*news, seed=9), RULES, seed, nobody) for seed in seeds]
        for _ in range(2)
    )
    assert first == again
    assert first != [explore(LIST, plan(*news, seed=10), RULES, s, nobody) for s in seeds]


def test_what_a_user_has_or_sees_anyway_is_not_explored() -> None:
    made = plan(new("i2"), new("had"), new("n"))
    for user in range(100):
        found = explore(LIST, made, RULES, seed_of(user), lambda item: item == "had")
        assert "had" not in found.items
        assert found.items.count("i2") == 1
    alone = explore(LIST, plan(new("had")), RULES, 5, lambda _: True)
    assert alone == (LIST, [])
    assert explore(LIST, NO_PLAN, RULES, 5, nobody) == (LIST, [])
    assert explore([], made, RULES, 5, nobody) == ([], [])


def test_it_ends_with_age_budget_or_success_and_keeps_its_pace() -> None:
    assert wanted(new("a"), RULES, 0.0)
    assert not wanted(new("a", age=8 * DAY), RULES, 0.0)
    assert not wanted(new("a", age=-60), RULES, 0.0)  # published later
    assert finished(new("a", views=120), RULES)
    assert finished(new("a", views=30, clicks=20), RULES)
    assert not wanted(new("a", views=60, age=3_600), RULES, 0.0)  # ahead of its pace
    assert wanted(new("a", views=60, age=8 * 3_600), RULES, 0.0)
    assert make_plan([new("a")], Rules(every=0), 0.0, 0.05, 1) == NO_PLAN


def test_those_published_first_are_explored_first() -> None:
    news = [new(f"n{n}", age=DAY + n) for n in range(40)]
    assert set(plan(*news).items) == {f"n{n}" for n in range(8, 40)}


def test_content_and_clicks_tell_what_is_worth_it() -> None:
    liked = New("liked", -DAY, 0, 0, {}, relative=4.0)
    clicked, ignored = new("clicked", 60, 15), new("ignored", 60, 0)
    made = plan(liked, clicked, ignored)
    shares = propensities(made, np.ones(3))
    assert shares[made.items.index("clicked")] > 0.5
    assert shares[made.items.index("ignored")] < 0.1
    popular = TopK(["x", "y"], np.array([0.0, -3.0], np.float32), "popular")
    assert relative_popularity({"x": 1.0}, popular) > 1 > relative_popularity({"y": 1.0}, popular)
    assert relative_popularity({}, popular) == 1


def test_the_price_is_what_moving_down_costs() -> None:
    without, given = gain_tables(20)
    assert without[1] == 1
    assert given[1] == pytest.approx(0.95 + 0.05 / np.log2(3))
    assert given[10] == pytest.approx(without[10] * 0.5)
    assert gain_tables(0)[0] == gain_tables(0)[1]
