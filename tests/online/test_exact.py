"""The exact top-K: nothing is missed, whatever the items look like."""

from __future__ import annotations

import numpy as np
import pytest

from online.exact import in_bytes, top_items, top_items_of_one


def items_like(shape: str, rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Items of a distribution."""
    x = rng.normal(size=(n, d))
    if shape == "lengths":
        x *= np.exp(3 * rng.normal(size=(n, 1)))
    if shape == "outliers":  # one coordinate takes all of the byte's range
        x[:, 0] *= 1_000
    if shape == "alike":
        x = x[:1] + 1e-3 * x
    return x.astype(np.float32)


@pytest.mark.parametrize("shape", ["normal", "lengths", "outliers", "alike"])
@pytest.mark.parametrize("n", [3, 64, 1_000, 5_000])
@pytest.mark.parametrize("d", [64, 7])
def test_nothing_is_missed(shape: str, n: int, d: int) -> None:
    rng = np.random.default_rng(n)
    items = items_like(shape, rng, n, d)
    queries = rng.normal(size=(70, d)).astype(np.float32)
    found, best = top_items(items, queries, 10)
    coarse, k = in_bytes(items), min(10, n)
    for q, query in enumerate(queries):
        true = np.sort(items.astype(np.float64) @ query)[::-1][:k]
        near = 1e-5 * np.linalg.norm(items, axis=1).max() * np.linalg.norm(query)
        one, alone = top_items_of_one(items, coarse, query, 10)
        for slots, scores in ((found[q], best[q]), (one, alone)):
            assert len(set(slots[:k].tolist())) == k
            np.testing.assert_allclose(scores[:k], true, atol=near)
            np.testing.assert_allclose(items[slots[:k]].astype(np.float64) @ query, true, atol=near)
            assert np.isneginf(scores[k:]).all()


def test_ties_go_in_order_of_items() -> None:
    items = np.ones((500, 8), np.float32)
    for query in (np.ones(8, np.float32), np.zeros(8, np.float32)):
        assert top_items(items, query[None], 5)[0].tolist() == [[0, 1, 2, 3, 4]]
        assert top_items_of_one(items, in_bytes(items), query, 5)[0].tolist() == [0, 1, 2, 3, 4]


def test_more_can_be_wanted_than_there_are_groups() -> None:
    rng = np.random.default_rng(0)
    items = rng.normal(size=(2_000, 16)).astype(np.float32)
    query = rng.normal(size=16).astype(np.float32)
    found, _ = top_items_of_one(items, in_bytes(items), query, 400)
    assert found.tolist() == np.argsort(-(items @ query), kind="stable")[:400].tolist()
