"""The ledger of ids, list versions, watermarks, and the state's way through a checkpoint."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.settings import UserError
from streams.ledger import EventHashes, IdWindow
from streams.partition import FORMAT, PartitionMeta, PartitionState, decode_meta, encode_meta


@given(st.lists(st.integers(0, 30), max_size=80))
def test_the_window_knows_exactly_the_last_ids(ids: list[int]) -> None:
    window, expected = IdWindow(window=10), dict[int, None]()
    for each in ids:
        if each in window:
            continue
        window.add(each)
        expected[each] = None
        if len(expected) > 10:
            del expected[next(iter(expected))]
    assert [each for each in range(31) if each in window] == sorted(expected)
    again = IdWindow(window=10)
    again.load(window.array())
    assert again.array().tolist() == list(expected)


def test_ids_are_unique_in_their_tenant_only() -> None:
    hashes = EventHashes()
    assert hashes.one("a", "1") != hashes.one("b", "1")
    assert 0 <= hashes.one("a", "\u8bfe") < 2**64


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=40), max_size=20))
def test_ids_hash_the_same_together_and_alone(ids: list[str]) -> None:
    hashes = EventHashes()
    assert hashes.many("a", ids) == [hashes.one("a", each) for each in ids]
    assert len(set(hashes.many("a", ids))) == len(set(ids))
    assert not ids or EventHashes().many("a", ids) != hashes.many("a", ids)  # each its own secret


def test_versions_grow_and_a_new_owner_wins() -> None:
    first, second = PartitionState(0, epoch=7), PartitionState(0, epoch=8)
    versions = [first.next_version() for _ in range(3)]
    assert versions == sorted(versions) and second.next_version() > versions[-1]


def test_the_watermark_is_the_slowest_topic_that_speaks() -> None:
    state = PartitionState(0, 1)
    assert state.watermark() == 0.0
    state.heard("clicks.v1", 1000.0)
    state.heard("purchases.v1", 900.0)
    assert state.watermark() == 900.0
    state.heard("purchases.v1", 400.0)  # late: learned, never moves it back
    assert state.watermark() == 900.0
    state.heard("clicks.v1", time.time() + 9_999)
    state.heard("purchases.v1", time.time() + 9_999)
    assert state.watermark() <= time.time()


def test_a_state_comes_back_as_it_was_saved() -> None:
    state = PartitionState(3, epoch=5)
    state.offsets |= {"clicks.v1": 41, "comments.v1": 7}
    state.seen.add(state.hashes.one("t", "x"))
    state.scored.add(7)
    state.duplicates, state.ignored = 2, 4
    state.heard("clicks.v1", 123.0)
    meta, arrays = state.snapshot(["t"])
    assert decode_meta(encode_meta(meta), PartitionMeta, FORMAT) == meta
    successor = PartitionState(3, epoch=6)
    successor.restore(meta, arrays)
    assert successor.offsets == state.offsets and successor.epoch == 6
    assert successor.hashes.one("t", "x") in successor.seen and 7 in successor.scored
    assert (successor.duplicates, successor.ignored) == (2, 4)
    assert successor.watermark() == 123.0
    assert not successor.is_new("clicks.v1", 41) and successor.is_new("clicks.v1", 42)


def test_a_checkpoint_of_another_version_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="the checkpoint has format 99, this version reads format"):
        decode_meta('{"format": 99}', PartitionMeta, FORMAT)
