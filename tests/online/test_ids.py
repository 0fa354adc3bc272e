"""Ids: any string keeps its slot, and a removed one leaves no bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from online import strings
from online.ids import Ids
from online.learner import Learner

# Any code point, lone surrogates included; and the longest ids that events may carry.
anything = st.text(st.characters(), max_size=40) | st.just("") | st.just("é" * 64)


def saved(ids: Ids) -> list[str | None]:
    return strings.unpacked(*ids.saved())


@given(st.lists(anything, max_size=80))
def test_any_string_comes_back_from_its_slot(names: list[str]) -> None:
    ids = Ids()
    slots = ids.slots(names)
    assert [ids.name(int(s)) for s in slots] == names
    assert len(ids) == len(set(names))
    restored = Ids.restored(*ids.saved())
    assert [restored.find(name) for name in names] == slots.tolist()


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([f"n{n:03d}" * 9 for n in range(60)]))))
def test_adding_and_removing_in_any_order_equals_a_dictionary(
    steps: list[tuple[bool, str]],
) -> None:
    ids, expected = Ids(), {}
    for keep, name in steps:
        if keep:
            expected[name] = ids.add(name)
        else:
            assert ids.remove(name) == expected.pop(name, -1)
    assert len(ids) == len(expected)
    assert {name: ids.find(name) for name in expected} == expected
    assert saved(ids) == [
        next((n for n, at in expected.items() if at == slot), None) for slot in range(ids.size)
    ]
    assert ids.taken().tolist() == sorted(expected.values())


def test_a_removed_string_is_overwritten_and_its_slot_used_again() -> None:
    ids = Ids()
    slot = ids.add("tell-nobody")
    ids.add("public")
    ids.remove("tell-nobody")
    assert b"tell" not in ids._bytes.tobytes()
    assert ids.find("tell-nobody") == -1
    assert ids.add("next") == slot


def test_removing_for_ever_does_not_grow() -> None:
    ids = Ids()
    for n in range(20_000):
        ids.add(f"passing-by-{n}")
        ids.remove(f"passing-by-{n}")
    assert ids.size == 1
    assert ids._bytes.nbytes < 4096


@given(st.lists(st.tuples(anything, anything), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_the_learner_takes_any_id(make_learner: Any, pairs: list[tuple[str, str]]) -> None:
    learner: Learner = make_learner()
    users, items = zip(*pairs, strict=True)
    learner.learn(0, users, items, np.zeros(len(pairs), np.int8), np.zeros(len(pairs)))
    again: Learner = make_learner()
    again.load_partition(0, learner.partition_state(0))
    for user in users:
        assert sorted(again.top_k(user).items) == sorted(learner.top_k(user).items)
    for user in users:
        again.forget_user(0, user)
    assert again.users == 0
    assert again.popular().items == []
