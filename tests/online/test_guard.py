"""The guard: a list is never worse than the best component alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from online import scoring
from online.learner import Learner


def crowd_then_walks(events: int, items: int = 400) -> tuple[list[str], list[str]]:
    """Everybody takes what is new at random; each new user then walks along one fixed path."""
    rng = np.random.default_rng(0)
    path = rng.permutation(items)
    users, taken = [], []
    for e in range(events):
        who = e % 40
        turn = e // 40
        users.append(f"u{who}-{turn // 30}")
        taken.append(f"i{path[(who * 7 + turn) % items]}")
    return users, taken


def learn(learner: Learner, users: list[str], items: list[str]) -> np.ndarray:
    """Ranks."""
    n = len(users)
    return learner.learn(0, users, items, np.zeros(n, np.int8), np.zeros(n)).ranks


def gain(ranks: np.ndarray) -> float:
    """NDCG@10."""
    shown = ranks[(ranks >= 1) & (ranks <= 10)]
    return float((1 / np.log2(shown + 1.0)).sum() / len(ranks))


def misled(make_learner: Any, scan_up_to: int) -> Learner:
    """A learner whose blend takes every feature the wrong way round, and hardly learns."""
    learner: Learner = make_learner(scan_up_to=scan_up_to, blend_rate=0)
    users, items = crowd_then_walks(6_000)
    learn(learner, users, items)
    learner._shared.model.blend.weights[:] = -1
    return learner


@pytest.mark.parametrize("scan_up_to", [0, 100_000])
def test_a_blend_that_is_wrong_gives_way_to_the_best_component(
    make_learner: Any, scan_up_to: int
) -> None:
    users, items = crowd_then_walks(12_000)
    guarded, alone = (misled(make_learner, scan_up_to) for _ in range(2))
    found = []
    for start in range(6_000, 12_000, 100):
        alone._shared.model.guard.ahead[:] = -1e6  # it never steps in
        found.append(
            [
                gain(learn(m, users[start : start + 100], items[start : start + 100]))
                for m in (guarded, alone)
            ]
        )
    with_guard, without = np.mean(found[10:], axis=0)
    best = best_alone(make_learner, users, items, scan_up_to)
    assert without < 0.05
    assert with_guard > 0.95 * best


def best_alone(make_learner: Any, users: list[str], items: list[str], scan_up_to: int) -> float:
    """NDCG@10 of the best component by itself, on the same events."""
    gains = []
    for feature in range(len(scoring.FEATURES)):
        learner = make_learner(scan_up_to=scan_up_to, blend_rate=0)
        learner._shared.model.blend.weights[:] = 0
        learner._shared.model.blend.weights[:, feature] = 1
        gains.append(gain(learn(learner, users, items)[7_000:]))
    return max(gains)


def test_the_list_is_the_leader_s(make_learner: Any) -> None:
    learner = misled(make_learner, 0)
    users, items = crowd_then_walks(7_000)
    learn(learner, users[6_000:], items[6_000:])
    before = learner.top_k(users[-1], 10).items
    learner._shared.model.guard.weight[:] = 0
    assert learner.top_k(users[-1], 10).items != before


def test_a_sound_blend_keeps_the_list(make_learner: Any, stream: Any) -> None:
    from online.guard import THE_BLEND, leader

    learner = make_learner()
    stream.learn(learner)
    guard = learner._shared.model.guard
    assert [leader(guard, bucket) for bucket in range(4)] == [THE_BLEND] * 4


def test_the_guard_s_memory_is_part_of_the_shared_state(make_learner: Any) -> None:
    learner = misled(make_learner, 0)
    again = make_learner()
    again.load_shared(learner.shared_state())
    for one, other in zip(learner._shared.model.guard, again._shared.model.guard, strict=True):
        np.testing.assert_array_equal(one, other)
