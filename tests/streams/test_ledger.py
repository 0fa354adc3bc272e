"""The window of ids: many new ones at once leave it as one by one would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.ledger import EventHashes, IdWindow

WINDOW = 10


@given(st.lists(st.lists(st.integers(0, 40), max_size=WINDOW + 3), max_size=30))
def test_many_at_once_are_as_one_by_one(rounds: list[list[int]]) -> None:
    at_once, one_by_one = IdWindow(WINDOW), IdWindow(WINDOW)
    for ids in rounds:
        all_new = len(set(ids)) == len(ids) and not any(each in one_by_one for each in ids)
        before = at_once.array().tolist()
        taken = at_once.add_new(ids)
        assert not taken or all_new
        if not taken:
            assert at_once.array().tolist() == before  # nothing was changed
            for each in ids:
                at_once.add(each)
        for each in ids:
            one_by_one.add(each)
        assert at_once.array().tolist() == one_by_one.array().tolist()
        assert [each in at_once for each in range(41)] == [each in one_by_one for each in range(41)]
        assert len(at_once) <= WINDOW


def test_the_ring_goes_round_and_comes_back_from_a_checkpoint() -> None:
    window = IdWindow(WINDOW)
    assert all(window.add_new(list(range(at, at + 4))) for at in (0, 4))
    assert not window.add_new([8, 9, 10])  # over the end of the ring: one by one
    for each in (8, 9, 10):
        window.add(each)
    again = IdWindow(WINDOW)
    again.load(window.array())
    for one in (window, again):
        assert one.add_new([11, 12]) and one.array().tolist() == list(range(3, 13))
        assert 2 not in one and 3 in one and not one.add_new([12])


def test_hashes_depend_on_tenant_and_secret_only() -> None:
    hashes = EventHashes(b"k" * 16)
    ids = ["a", "课", "", "a" * 128]
    assert hashes.many("t", ids) == [hashes.one("t", each) for each in ids]
    assert EventHashes(b"k" * 16).many("t", ids) == hashes.many("t", ids)
    assert EventHashes().many("t", ids) != hashes.many("t", ids) != hashes.many("u", ids)
