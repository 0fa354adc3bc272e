"""What changed since the last checkpoint is enough: files add up to the state, bit for bit."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.changes import LOG, events_in, joined, merged
from online.checkpoint import CheckpointStore
from online.checkpoint_chain import Chain
from online.learner import Learner
from streams.ledger import WINDOW


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def of(learner: Learner) -> dict[str, Any]:
    """A change as a partition's file has it."""
    return {f"t/{name}": array for name, array in learner.partition_changes(0).items()}


def whole(learner: Learner) -> dict[str, Any]:
    return {f"t/{name}": array for name, array in learner.partition_state(0).items()}


def chain_of(
    pieces: int, learner: Learner, stream: Any, folder: Path
) -> tuple[CheckpointStore, Chain]:
    """A stream of 900 events, learned and appended piece by piece."""
    store = CheckpointStore(str(folder))
    chain = Chain(store, "partition-0", 1)
    for piece in range(pieces):
        stream.where(np.arange(900) * pieces // 900 == piece).learn(learner)
        chain.append(of(learner), "{}")
    return store, chain


def live(learner: Learner, stream: Any, seed: int) -> None:
    """Learn a piece; now and then somebody is forgotten, opts out, or declares interests."""
    stream.learn(learner)
    chance = np.random.default_rng(seed)
    for user in chance.choice(stream.users, 2):
        learner.forget_user(0, str(user))
    learner.put_profile(0, str(chance.choice(stream.users)), ["art", "音乐"], seed % 2 == 0)


@settings(max_examples=20, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 399), min_size=2, max_size=6, unique=True),
    seed=st.integers(0, 99),
    left=st.booleans(),
)
def test_changes_merge_to_the_whole_in_any_grouping(
    make_learner: Any, new_stream: Any, cuts: list[int], seed: int, left: bool
) -> None:
    learner = make_learner(max_history=16, max_users=20)
    stream = new_stream(400, users=25, items=60, seed=seed)
    changes = []
    for a, b in pairwise([0, *sorted(cuts), 400]):
        live(learner, stream.where((np.arange(400) >= a) & (np.arange(400) < b)), seed + a)
        changes.append(learner.partition_changes(0))
    while len(changes) > 1:
        at = 0 if left else len(changes) - 2
        changes[at : at + 2] = [merged(changes[at], changes[at + 1])]
    assert same(changes[0], learner.partition_state(0))


def test_a_restored_learner_has_the_same_statistics_and_state(
    make_learner: Any, new_stream: Any, statistics: Any, tmp_path: Path
) -> None:
    learner, stream = make_learner(max_history=30), new_stream(6_000, users=70, items=300)
    store = CheckpointStore(str(tmp_path))
    chain = Chain(store, "partition-0", 1)
    for piece in range(40):
        live(learner, stream.where(np.arange(6_000) // 150 == piece), piece)
        chain.append(of(learner), f'{{"piece": {piece}}}')
        chain.merge()
    found = store.read("partition-0")
    assert found is not None and found.header == '{"piece": 39}'
    assert len(list(tmp_path.iterdir())) < 14
    assert found.bytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    assert same(found.arrays, whole(learner))
    again = make_learner(max_history=30)
    again.load_partition(0, {k.removeprefix("t/"): v for k, v in found.arrays.items()})
    assert statistics(again) == statistics(learner)
    assert again.events_learned(0) == learner.events_learned(0) == 6_000
    assert same(again.partition_state(0), learner.partition_state(0))


def test_a_change_is_small_whatever_the_state_is(make_learner: Any, new_stream: Any) -> None:
    learner = make_learner()
    new_stream(20_000, users=2_000).learn(learner)
    size = sum(array.nbytes for array in learner.partition_changes(0).values())
    learner.learn(0, ["u1"], ["i1"], np.zeros(1, np.int8), np.zeros(1))
    change = learner.partition_changes(0)
    assert change["history.items"].tolist() == [learner._shared.items.find("i1")]
    assert sum(array.nbytes for array in change.values()) < 200 < size / 1_000
    assert events_in(learner.partition_state(0)) == 20_001


def test_a_new_owner_goes_on_by_himself(make_learner: Any, stream: Any, tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path))
    old, new = make_learner(), make_learner()
    first = Chain(store, "partition-0", 4)
    stream.learn(old)
    first.append(of(old), "{}")
    found = store.read("partition-0")
    assert found is not None
    new.learn(9, ["someone"], ["another-item"], np.zeros(1, np.int8), np.zeros(1))
    begun: list[dict[str, Any]] = []
    for aside in new.loading(0, {k.removeprefix("t/"): v for k, v in found.arrays.items()}, begun):
        if aside is not None:
            aside()
    second = Chain(store, "partition-0", 5)
    second.append({f"t/{name}": array for name, array in begun[0].items()}, "{}")
    new.learn(0, ["u1"], ["i1"], np.zeros(1, np.int8), np.zeros(1))
    second.append(of(new), "{}")
    old.learn(0, ["u2"] * 9, ["i2"] * 9, np.zeros(9, np.int8), np.zeros(9))
    first.append(of(old), '{"who": "a zombie"}')
    for _ in range(9):
        first.merge()
    read = store.read("partition-0")
    assert read is not None and read.epoch == 5
    assert same(read.arrays, whole(new))
    assert events_in({k.removeprefix("t/"): v for k, v in read.arrays.items()}) == 1_501


@pytest.mark.parametrize("place", ["replace", "unlink"])
def test_a_crash_while_merging_leaves_the_state(
    make_learner: Any, new_stream: Any, tmp_path: Path, monkeypatch: Any, place: str
) -> None:
    learner = make_learner()
    store, chain = chain_of(9, learner, new_stream(900), tmp_path)

    def power_cut(*_: Any, **__: Any) -> None:
        raise OSError("no power")

    if place == "replace":  # before the merged file is there
        monkeypatch.setattr("pathlib.Path.replace", power_cut)
    else:  # it is, and not one of the others is gone
        monkeypatch.setattr(store._fs, "rm_file", power_cut)
    with pytest.raises(OSError, match="no power"):
        chain.merge()
    monkeypatch.undo()
    found = store.read("partition-0")
    assert found is not None and same(found.arrays, whole(learner))


def test_a_reader_does_not_mind_an_owner_who_merges(
    make_learner: Any, new_stream: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    learner = make_learner()
    _, chain = chain_of(9, learner, new_stream(900), tmp_path)
    reader = CheckpointStore(str(tmp_path))
    listed = reader._files

    def merged_meanwhile(name: str | None = None) -> Any:
        files = listed(name)
        chain.merge()
        return files

    monkeypatch.setattr(reader, "_files", merged_meanwhile)
    found = reader.read("partition-0")
    assert found is not None and same(found.arrays, whole(learner))


def test_a_listing_that_a_merge_tore_is_not_believed(
    make_learner: Any, new_stream: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    learner = make_learner()
    store, _ = chain_of(3, learner, new_stream(900), tmp_path)
    listed = store._files

    def torn(name: str | None = None) -> Any:  # neither the merged file nor those it took in
        monkeypatch.undo()
        return listed(name)[:1]

    monkeypatch.setattr(store, "_files", torn)
    found = store.read("partition-0")
    assert found is not None and same(found.arrays, whole(learner))


def test_logs_are_written_as_far_as_they_are_new_and_kept_as_long_as_the_window(
    tmp_path: Path,
) -> None:
    assert LOG == WINDOW
    chain = Chain(store := CheckpointStore(str(tmp_path)), "partition-0", 1)
    ids = np.arange(3 * LOG, dtype=np.uint64)
    sizes = [chain.append({"seen": ids[max(0, at - LOG) : at]}, "{}") for at in (LOG, LOG + 9)]
    assert sizes[1] < 300 < sizes[0]
    found = store.read("partition-0")
    assert found is not None
    np.testing.assert_array_equal(found.arrays["seen"], ids[9 : LOG + 9])


def test_a_tenant_who_came_later_is_merged_too(make_learner: Any, learn: Any) -> None:
    one, other = make_learner(), make_learner()
    learn(one, "u i")
    learn(other, "v j", "w k")
    first = {f"a/{name}": array for name, array in one.partition_changes(0).items()}
    second = {f"b/{name}": array for name, array in other.partition_changes(0).items()}
    both = joined(first, second)
    assert same(both, first | second)


def test_nothing_new_merges_on_either_side(learner: Learner, stream: Any) -> None:
    nothing = learner.partition_changes(0)
    stream.learn(learner)
    first, later = learner.partition_changes(0), learner.partition_changes(0)
    assert same(merged(merged(nothing, first), later), first)
    assert same(merged(nothing, merged(first, later)), first)


def test_changes_that_are_left_out_because_no_user_changed_make_no_hole(
    make_learner: Any, learn: Any, tmp_path: Path
) -> None:
    learner = make_learner()
    store = CheckpointStore(str(tmp_path))
    chain = Chain(store, "partition-0", 1)
    learn(learner, "u a")
    chain.append(of(learner), "{}")
    learn(learner, "v b", partition=1)  # a new item, which nobody here has
    learner.put_item("c", ["art"], True)
    idle = learner.partition_changes(0)
    assert not len(idle["users.slot"]) and not len(idle["items.length"])
    learn(learner, "u b")
    chain.append(of(learner), "{}")
    found = store.read("partition-0")
    assert found is not None and same(found.arrays, whole(learner))


def test_items_met_while_a_partition_is_restored_come_with_the_next_change(
    make_learner: Any, learn: Any, stream: Any, monkeypatch: Any
) -> None:
    old, new = make_learner(), make_learner()
    stream.learn(old)
    items = new._shared.items
    saved = items.saved

    def others_learn_beside_the_thread(slots: Any = None) -> Any:
        monkeypatch.undo()
        found = saved(slots)
        learn(new, "someone another-item", partition=9)
        return found

    monkeypatch.setattr(items, "saved", others_learn_beside_the_thread)
    begun: list[dict[str, Any]] = []
    for aside in new.loading(0, old.partition_state(0), begun):
        if aside is not None:
            aside()
    learn(new, "u1 another-item", "u1 third-item")
    both = merged(begun[0], new.partition_changes(0))
    assert same(both, new.partition_state(0))


def test_a_missing_change_is_told(make_learner: Any, learn: Any, tmp_path: Path) -> None:
    learner = make_learner()
    store = CheckpointStore(str(tmp_path))
    chain = Chain(store, "partition-0", 1)
    for pair in ("u a", "u b", "u c"):
        learn(learner, pair)
        chain.append(of(learner), "{}")
    next(iter(tmp_path.glob("*00000001-00000001*"))).unlink()
    with pytest.raises(FileNotFoundError, match="change 1 is missing"):
        store.read("partition-0")


def test_object_storage_keeps_chains(make_learner: Any, new_stream: Any) -> None:
    store = CheckpointStore("memory://springtide-test/chains")
    learner, stream = make_learner(), new_stream(900)
    chain = Chain(store, "partition-0", 1)
    for piece in range(9):
        stream.where(np.arange(900) // 100 == piece).learn(learner)
        chain.append(of(learner), "{}")
        chain.merge()
    found = store.read("partition-0")
    assert found is not None and same(found.arrays, whole(learner))
