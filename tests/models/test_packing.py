from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.packing import pack, pack_shuffled, pad
from models.sampling import quotas

lengths = st.lists(st.integers(1, 600), max_size=300)


@given(lengths, st.integers(1, 4_096))
def test_every_row_is_in_one_batch_and_no_batch_is_over_budget(
    rows: list[int], budget: int
) -> None:
    batches = pack(rows, budget)

    assert sorted(index for batch in batches for index in batch) == list(range(len(rows)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(rows[i] for i in batch) <= budget


@given(lengths)
def test_batches_hold_rows_of_like_length(rows: list[int]) -> None:
    batches = pack(rows, 1_024)
    for earlier, later in itertools.pairwise(batches):
        assert max(rows[i] for i in earlier) <= min(rows[i] for i in later)


def test_real_lengths_waste_little_of_the_budget() -> None:
    rows = np.random.default_rng(0).lognormal(3.1, 0.7, 3_000).astype(int).clip(3, 80).tolist()
    padded = sum(len(batch) * max(rows[i] for i in batch) for batch in pack(rows))
    assert sum(rows) / padded > 0.9


@given(lengths, st.integers(0, 9))
def test_an_epoch_holds_each_row_once(rows: list[int], seed: int) -> None:
    batches = pack_shuffled(rows, np.random.default_rng(seed))
    assert sorted(index for batch in batches for index in batch) == list(range(len(rows)))


def test_padding_is_masked() -> None:
    ids, mask = pad([[5, 6, 7], [8]], pad_id=1)
    assert ids.tolist() == [[5, 6, 7], [8, 1, 1]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=8), st.integers(1, 50_000))
def test_quotas_never_ask_for_more_than_there_is(sizes: list[int], total: int) -> None:
    found = quotas(sizes, total)

    assert all(0 <= taken <= size for taken, size in zip(found, sizes, strict=True))
    # Each set gives at least one row in a round, hence the few beyond the total.
    assert min(total, sum(sizes)) <= sum(found) + len(sizes)
    assert sum(found) <= total + len(sizes) ** 2
