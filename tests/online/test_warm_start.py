"""Warm start: factors of a batch model, written, read, and taken over by a learner that runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from online import warm_start
from online.checkpoint import CheckpointStore
from online.factors import new_factors
from online.learner import Learner

pytest.importorskip("implicit", reason="the extra `evaluate` is not installed")


def manifest(trained_at: float = 100.0) -> warm_start.Manifest:
    return warm_start.Manifest("default", "als", 16, 9, 3, 4, trained_at, 0.1, "test", "implicit")


def given(items: int, d: int = 16) -> warm_start.ItemFactors:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(items, d)).astype(np.float32)
    ids = [f"i{n}" for n in range(items)]
    return warm_start.ItemFactors(ids, vectors, np.arange(items, dtype=np.float32))


def row(learner: Learner, item: str) -> np.ndarray:
    slot = learner._shared.items.find(item)
    return learner._shared.model.factors.e_in[slot].copy()


@pytest.mark.parametrize("model", ["als", "bpr"])
def test_items_of_one_circle_get_factors_that_are_near(model: warm_start.Model) -> None:
    users, items = np.divmod(np.arange(40 * 10, dtype=np.int32), 10)
    items = (items + 10 * (users % 2)).astype(np.int32)  # two circles of users and items
    epochs: list[int] = []
    found = warm_start.fit(
        users, items, np.ones(len(users)), [f"i{n}" for n in range(20)], model, 8, 0, 30,
        epochs.append,
    )  # fmt: skip
    unit = found.vectors / np.linalg.norm(found.vectors, axis=1, keepdims=True)
    near = unit @ unit.T
    assert near[:10, :10].mean() > near[:10, 10:].mean() + 0.5
    assert found.vectors.shape == (20, 8)
    assert epochs[-1] == 30
    assert np.sqrt((found.vectors**2).mean()) == pytest.approx(warm_start.RMS, rel=1e-3)


def test_an_artifact_comes_back_and_the_newer_wins(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path))
    factors = given(4)._replace(items=["a", "课程", "", "d"])
    first = warm_start.write(store, factors, manifest())
    second = warm_start.write(store, factors, manifest())
    assert second > first, "also where the clock stands still"
    assert store.newest(warm_start.NAME) == second
    found = store.read(warm_start.NAME)
    assert found is not None
    back, told = warm_start.read(found)
    assert back.items == factors.items
    assert np.array_equal(back.vectors, factors.vectors)
    assert told == manifest()


def test_something_else_is_no_artifact(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path))
    store.write(warm_start.NAME, 1, {"x": np.zeros(1)}, "{}")
    found = store.read(warm_start.NAME)
    assert found is not None
    with pytest.raises(ValueError, match="no artifact"):
        warm_start.read(found)


def test_known_items_keep_their_own(learner: Learner, learn: Callable[..., object]) -> None:
    learn(learner, *[f"u{n} i0" for n in range(9)], "u0 i1", "u1 i1")
    own = row(learner, "i0")
    factors = given(3)
    assert sum(learner.warm_start(part) for part in factors.parts(2)) == 2
    assert np.array_equal(row(learner, "i0"), own)
    for n in (1, 2):
        assert np.array_equal(row(learner, f"i{n}"), factors.vectors[n])
    learn(learner, "u0 i2", "u0 i9")
    assert not np.array_equal(row(learner, "i2"), factors.vectors[2]), "it goes on learning"


def test_embeddings_that_begin_anew_hold_nothing_of_an_erased_user(
    learner: Learner, learn: Callable[..., object]
) -> None:
    others = [f"u{n} i{(n * k) % 7}" for n in range(9) for k in range(5)]
    learn(learner, *others, *[f"erased i{n}" for n in range(9)])
    learner.forget_user(0, "erased")
    factors = given(3)._replace(forget="first")
    assert sum(learner.warm_start(part) for part in factors.parts(2)) == 3
    held = learner._shared.model.factors
    slots = [learner._shared.items.find(f"i{n}") for n in range(9)]
    assert np.array_equal(held.e_in[slots[:3]], factors.vectors)
    assert np.array_equal(held.e_out[slots[:3]], factors.vectors)
    # i3 to i8 are in no history: as if nobody had ever taken or passed over them.
    first = new_factors(*held.e_in.shape, len(held.p) - 1, 1, learner.config.seed)
    assert np.array_equal(held.e_in[slots[3:]], first.e_in[slots[3:]])
    assert np.array_equal(held.bias[slots[3:]], first.bias[slots[3:]])
    for name in ("g_in", "g_out"):
        assert np.array_equal(getattr(held, name)[slots[3:]], getattr(first, name)[slots[3:]])
    for name in ("attention", "attention_g"):
        assert np.array_equal(getattr(held, name), getattr(first, name))
    learn(learner, "u0 i2")
    assert learner.top_k("u1").items, "it goes on"


def test_items_that_nobody_took_here_are_in_no_list(learner: Learner) -> None:
    learner.warm_start(given(3))
    assert learner.items == 3
    assert learner.top_k("somebody").items == []


def test_another_width_is_an_error_that_teaches(learner: Learner) -> None:
    with pytest.raises(ValueError, match=r"8 wide, the learner's 16: .*--factors 16"):
        learner.warm_start(given(3, d=8))
    bad = given(3)
    bad.vectors[1, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        learner.warm_start(bad)
    assert learner.items == 0
