"""Checkpoints: what was learned comes back; files are whole, open and owned by an epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from online.checkpoint import CheckpointStore
from online.checkpoint_chain import Chain
from online.learner import Learner, events_in, items_in, users_in


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(str(tmp_path / "checkpoints"))


def restored(store: CheckpointStore, learner: Learner) -> Learner:
    """A learner from files alone."""
    for name in store.names():
        found = store.read(name)
        assert found is not None
        if name == "shared":
            learner.load_shared(found.arrays)
        else:
            learner.load_partition(int(name.rpartition("-")[2]), found.arrays)
    return learner


def write_all(store: CheckpointStore, learner: Learner, partitions: tuple[int, ...]) -> None:
    store.write("shared", 1, learner.shared_state(), "{}")
    for number in partitions:
        store.write(f"partition-{number}", 1, learner.partition_state(number), "{}")


def test_a_restored_learner_makes_the_same_lists(
    store: CheckpointStore, make_learner: Any, stream: Any, statistics: Any
) -> None:
    learner = make_learner()
    even = stream.of(*(f"u{n}" for n in range(0, 30, 2)))
    stream.where(even).learn(learner, partition=0)
    stream.where(~even).learn(learner, partition=1)
    learner.put_item("i3", ["art"], available=True)
    learner.put_profile(1, "u1", ["art"], personalise=True)
    write_all(store, learner, (0, 1))
    again = restored(store, make_learner(seed=99))
    again.put_item("i3", ["art"], available=True)
    assert statistics(again) == statistics(learner)
    for user in [*sorted(set(stream.users)), "nobody"]:
        before, after = learner.top_k(user), again.top_k(user)
        assert before.policy == after.policy
        np.testing.assert_allclose(before.scores, after.scores, rtol=1e-4, atol=1e-4)
        assert before.items[:20] == after.items[:20]


def test_a_restored_learner_goes_on_the_same_way(
    store: CheckpointStore, make_learner: Any, stream: Any
) -> None:
    first, second = (stream.where(np.arange(1_500) // 750 == half) for half in (0, 1))
    learner = make_learner()
    first.learn(learner)
    write_all(store, learner, (0,))
    again = restored(store, make_learner(seed=99))
    left, right = second.learn(learner), second.learn(again)
    assert (left.ranks == right.ranks).mean() > 0.98  # rounding of fading counts decides ties
    np.testing.assert_array_equal(left.popularity_ranks, right.popularity_ranks)
    assert again.events_learned() == 1_500


def test_a_state_tells_what_it_holds(learner: Learner, stream: Any) -> None:
    stream.learn(learner)
    learner.put_item("never-touched", [], available=True)
    learner.forget_user(0, "u5")
    state = learner.partition_state(0)
    assert events_in(state) == 1_500
    assert users_in(state) == 29
    kept = stream.where(~stream.of("u5"))
    assert sorted(items_in(state)) == sorted(set(kept.items))


def test_the_highest_epoch_wins_and_older_files_go(store: CheckpointStore, tmp_path: Path) -> None:
    store.write("partition-0", 7, {"x": np.arange(3)}, "{}")
    store.write("partition-0", 12, {"x": np.arange(4)}, '{"who": "newer"}')
    store.write("partition-0", 9, {"x": np.arange(5)}, "{}")  # a zombie
    found = store.read("partition-0")
    assert found is not None
    assert (found.epoch, found.header, found.arrays["x"].tolist()) == (
        12, '{"who": "newer"}', [0, 1, 2, 3],
    )  # fmt: skip
    store.write("partition-0", 12, {"x": np.arange(4)}, "{}")
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def test_names_that_start_alike_are_kept_apart(store: CheckpointStore) -> None:
    for number in (1, 10, 11):
        store.write(f"partition-{number}", number, {"n": np.array([number])}, "{}")
    store.write("partition-1", 20, {"n": np.array([1])}, "{}")
    assert store.names() == ["partition-1", "partition-10", "partition-11"]
    assert [store.read(name).epoch for name in store.names()] == [20, 10, 11]  # type: ignore[union-attr]
    assert store.read("partition-2") is None


def test_the_format_is_open_and_holds_no_pickle(
    store: CheckpointStore, learner: Learner, stream: Any, tmp_path: Path
) -> None:
    stream.learn(learner)
    size = store.write("partition-0", 3, learner.partition_state(0), '{"offset": 5}')
    (file,) = (tmp_path / "checkpoints").iterdir()
    content = file.read_bytes()
    assert len(content) == size
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert json.loads(header["__metadata__"]["springtide"]) == {"offset": 5}
    assert header["history.items"]["dtype"] == "I32"


def test_object_storage_does_as_well(learner: Learner, stream: Any, make_learner: Any) -> None:
    store = CheckpointStore("memory://springtide-test/checkpoints")
    stream.learn(learner)
    write_all(store, learner, (0,))
    store.write("partition-0", 2, learner.partition_state(0), "{}")
    again = restored(store, make_learner())
    assert again.events_learned() == 1_500
    assert store.names() == ["partition-0", "shared"]


def test_half_a_file_is_named_and_never_passed_over() -> None:
    store = CheckpointStore("memory://half-a-file")
    arrays = {"x": np.arange(100)}
    for number in range(2):
        store.write_change("partition-0", 1, (number, number), arrays, "{}")
    (last,) = [file.path for file in store._files() if file.last == 1]
    for size in (4, 40, 400):
        store._fs.pipe_file(last, store._fs.cat_file(last)[:size])
        with pytest.raises(ValueError, match=r"partition-0.*00000001.safetensors is cut off"):
            store.read("partition-0")
        store.write_change("partition-0", 1, (1, 1), arrays, "{}")


def test_a_folder_that_object_storage_does_not_know_yet_is_empty(tmp_path: Path) -> None:
    """S3 has no folders: before the first object, listing one finds nothing at all."""
    store = CheckpointStore("memory://springtide-test/new")
    store._fs.rmdir(store._root)
    with pytest.raises(FileNotFoundError):
        store._fs.ls(store._root)
    assert store.names() == [] and store.newest("shared") == -1 and store.read("shared") is None
    gone = CheckpointStore(str(tmp_path / "mounted"))
    (tmp_path / "mounted").rmdir()
    with pytest.raises(FileNotFoundError):
        gone.names()


def test_a_crash_in_mid_write_leaves_the_old_file(
    store: CheckpointStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("partition-0", 1, {"x": np.arange(3)}, "{}")

    def power_cut(_: int) -> None:
        raise OSError("no power")

    monkeypatch.setattr("os.fsync", power_cut)
    with pytest.raises(OSError, match="no power"):
        store.write("partition-0", 1, {"x": np.arange(9)}, "{}")
    monkeypatch.undo()
    found = store.read("partition-0")
    assert found is not None
    assert found.arrays["x"].tolist() == [0, 1, 2]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def test_other_sizes_are_refused_with_a_reason(make_learner: Any, learn: Any) -> None:
    wide = make_learner(factors=32)
    learn(wide, "u i")
    with pytest.raises(ValueError, match="factors"):
        make_learner(factors=16).load_shared(wide.shared_state())


def begun(store: CheckpointStore, monkeypatch: Any, epoch: int) -> None:
    """A file that a killed owner left half-written."""

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", killed)
    monkeypatch.setattr("pathlib.Path.unlink", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        store.write_change("partition-3", epoch, (7, 7), {"x": np.zeros(9)}, "{}")
    monkeypatch.undo()


def test_what_a_killed_owner_left_half_written_goes_with_his_files(
    store: CheckpointStore, tmp_path: Path, monkeypatch: Any
) -> None:
    for epoch in (4, 5):
        begun(store, monkeypatch, epoch)
    store.write("partition-33", 9, {"x": np.zeros(1)}, "{}")
    store.write("partition-3", 5, {"x": np.zeros(1)}, "{}")
    left = sorted(file.name[:30] for file in (tmp_path / "checkpoints").iterdir())
    assert left == [
        ".partition-3.000000000005.0000", "partition-3.000000000005.safet",
        "partition-33.000000000009.safe",
    ]  # fmt: skip


def test_files_of_others_and_files_that_another_owner_deleted_first_hold_nobody_up(
    store: CheckpointStore, tmp_path: Path, monkeypatch: Any
) -> None:
    for name in ("backup.safetensors", "partition-3.old.safetensors", "notes.txt"):
        (tmp_path / "checkpoints" / name).write_text("not ours")
    store.write("partition-3", 1, {"x": np.zeros(1)}, "{}")
    listed = store._files

    def quicker(name: str | None = None) -> Any:
        files = listed(name)
        for file in files:
            Path(file.path).unlink()
        return files

    monkeypatch.setattr(store, "_files", quicker)
    store.delete_before("partition-3", 2)
    monkeypatch.undo()
    store.write("partition-3", 2, {"x": np.ones(1)}, "{}")
    assert store.names() == ["partition-3"]
    found = store.read("partition-3")
    assert found is not None and found.epoch == 2


def test_an_erasure_takes_what_a_zombie_wrote_along(
    store: CheckpointStore, tmp_path: Path, make_learner: Any, learn: Any
) -> None:
    learner = make_learner()
    learn(learner, "secret-user a")
    now = Chain(store, "partition-0", 2)
    now.append({}, "{}")
    Chain(store, "partition-0", 1).append(learner.partition_changes(0), "{}")
    now.merge_whole()
    assert not any(b"secret" in file.read_bytes() for file in (tmp_path / "checkpoints").iterdir())
