"""item-deltas.v1 on the wire, and what is done with what does not belong there."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from infra.metrics import WorkerMetrics
from infra.settings import Settings
from infra.warehouse import ArchiveWriter
from online import crowding
from online.checkpoint import Checkpoint, CheckpointStore
from online.learner import Learner, LearnerConfig
from streams import deltas_wire, topics
from streams.deltas import Deltas, SharedMark
from streams.deltas_start import DeltasStart
from streams.deltas_wire import ItemDelta, UnusableError
from streams.outlet import Outgoing
from streams.partition import PartitionMeta, encode_meta, partition_name
from streams.river import River
from streams.workers_run import Workers


class Written:
    """The producer's end: keeps what it was given."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []

    async def write(self, records: list[Outgoing]) -> None:
        self.records += records


def worker(**changes: Any) -> Deltas:
    nowhere: Any = None
    river = River(
        Settings(**changes),
        WorkerMetrics(CollectorRegistry()),
        nowhere,
        ArchiveWriter("clickhouse://127.0.0.1:9/default"),
        nowhere,
        Written(),  # type: ignore[arg-type]
    )
    return Deltas(river)


def sent(deltas: Deltas) -> list[bytes]:
    outlet: Any = deltas._river.outlet
    asyncio.run(_flush(deltas))
    taken = [record.value for record in outlet.records]
    outlet.records.clear()
    return taken


async def _flush(deltas: Deltas) -> None:
    deltas.cut()
    await deltas.flushed()


def learn(deltas: Deltas, users: str, items: str, partition: int = 0) -> Learner:
    learner = deltas._river.learner("default")
    n = len(users.split())
    learner.learn(
        partition, users.split(), items.split(), np.zeros(n, np.int8), np.arange(n, dtype=float)
    )
    return learner


def counts(learner: Learner) -> dict[str, float]:
    shared = learner._shared
    found = {shared.items.name(i): float(shared.model.popularity.counts[i]) for i in range(2)}
    return {name: count for name, count in found.items() if count}


def test_another_worker_counts_what_this_one_learned() -> None:
    here, there = worker(), worker()
    learn(here, "u u v", "a b a")
    for offset, value in enumerate(sent(here)):
        there.take(value, offset)
        there.take(value, offset)  # a lost answer made it come twice
        here.take(value, offset)  # one's own
    assert counts(there._river.learner("default")) == {"a": 2.0, "b": 1.0}
    assert counts(here._river.learner("default")) == {"a": 2.0, "b": 1.0}
    assert sent(here) == []


def test_no_user_is_on_the_topic() -> None:
    here = worker()
    learn(here, "somebody@example.org somebody@example.org", "a b")
    values = sent(here)
    assert values and not any(b"somebody" in value for value in values)


def test_what_a_checkpoint_holds_is_not_sent_again() -> None:
    here = worker()
    learn(here, "u u v", "a b a")
    first = sent(here)
    here.settle(here.positions())
    learn(here, "v", "b")
    (again,) = sent(here)
    run = deltas_wire.decode(again).increments
    assert run is not None and (run.first, run.upto, run.settled) == (3, 4, 3)
    there = worker()
    for offset, value in enumerate([*first, again]):
        there.take(value, offset)
    assert counts(there._river.learner("default")) == {"a": 2.0, "b": 2.0}


def test_factors_are_taken_once_and_not_where_the_checkpoint_has_them() -> None:
    here, there = worker(), worker()
    for deltas in (here, there):
        deltas.caught_up.set()
        learn(deltas, "u", "a", partition=int(deltas is there))
    there.take(sent(here)[0], 0)
    here.take(sent(there)[0], 1)  # now they know of each other
    learn(here, "u u u u", "b a b a")
    (moved,) = [v for v in sent(here) if deltas_wire.decode(v).factors is not None]
    model = there._river.learner("default")._shared.model
    there.shared_from["default"] = SharedMark(deltas=8)
    before = model.factors.e_in.copy()
    there.take(moved, 7)
    assert np.array_equal(model.factors.e_in, before)
    there.take(moved, 8)
    once = there._river.learner("default")._shared.model.factors.e_in.copy()
    assert not np.array_equal(once, before)
    there.take(moved, 9)
    assert np.array_equal(there._river.learner("default")._shared.model.factors.e_in, once)


def test_weights_of_content_travel_and_an_older_worker_sends_none() -> None:
    one, two = Workers(2).learners
    start = one._shared.model.content.weights.copy()
    one._shared.model.content.weights[0] += 1
    one_side, two_side = one.exchange, two.exchange
    assert one_side is not None and two_side is not None
    (delta,) = one_side.factors.cut()
    said = deltas_wire.from_factors("default", "1", delta, one_side.names)
    old = msgspec.to_builtins(said.factors, builtin_types=(bytes,))
    for name in ("content_weights", "content_squared"):
        del old[name]
    older = msgspec.msgpack.encode({**msgspec.structs.asdict(said), "factors": old})
    for value in (older, deltas_wire.encode(said)):
        there = deltas_wire.decode(value)
        slots = np.zeros(0, np.int64)
        two_side.factors.take(deltas_wire.to_factors(there, slots, two_side.factors.empty()))
        moved = two._shared.model.content.weights - start
        assert np.allclose(moved[0], 0 if value is older else 0.5**0.5) and not moved[1:].any()
    assert np.allclose(one._shared.model.content.weights[0] - start[0], 0.5**0.5)  # as the other


def message() -> ItemDelta:
    here = worker()
    learn(here, "u u v", "a b a")
    return deltas_wire.decode(sent(here)[0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"upto": 2}, "targets is not"),
        ({"upto": 5_000}, "make no block"),
        ({"settled": 1}, "make no block"),
        ({"targets": b"\x09\x00\x00\x00\x00\x00"}, "not in its table"),
        ({"contexts": b"\x07\x00" * 60}, "not in its table"),
        ({"halves": b"\x7f\x01\x01"}, "a weight that no"),
        ({"ages": b"123"}, "ages is not"),
    ],
)
def test_columns_that_do_not_fit_are_refused(change: dict[str, Any], reason: str) -> None:
    good = message()
    assert good.increments is not None
    bad = msgspec.structs.replace(
        good, increments=msgspec.structs.replace(good.increments, **change)
    )
    there = worker()
    with pytest.raises(UnusableError, match=reason):
        there.take(deltas_wire.encode(bad), 0)
    there.take(deltas_wire.encode(good), 1)  # the stream goes on
    assert counts(there._river.learner("default")) == {"a": 2.0, "b": 1.0}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_are_refused_or_harmless(data: st.DataObject) -> None:
    value = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(value)))
    for bad in (bytes(value), bytes(value[:cut])):
        try:
            decoded = deltas_wire.decode(bad)
            slots = np.arange(len(decoded.items))
            if decoded.increments is not None:
                run = deltas_wire.to_run(decoded, slots)
                assert run.increments.items.max() < len(decoded.items)
        except UnusableError as error:
            assert str(error)


GOOD = deltas_wire.encode(message())


def test_long_ids_are_split_over_messages() -> None:
    learner = Learner(LearnerConfig(factors=8, negatives=4))
    exchange = learner.share(lambda partition: 1)
    n = 1_000
    items = [f"{i:06d}" + "课" * 40 for i in range(n * 8)]
    for user in range(8):
        of_user = items[user * n : (user + 1) * n : 8]
        learner.learn(0, [f"u{user}"] * 125, of_user, np.zeros(125, np.int8), np.zeros(125))
    messages = [
        deltas_wire.encode(message)
        for run in exchange.cut()
        for message in deltas_wire.from_run("default", "w", run, exchange.names)
    ]
    assert max(map(len, messages)) < deltas_wire.MAX_BYTES
    runs = [deltas_wire.decode(value).increments for value in messages]
    assert [run.first for run in runs if run][1:] == [run.upto for run in runs if run][:-1]


def test_users_are_partitioned_as_kafka_does() -> None:
    workers = Workers(1, partitions=4)
    found = [workers.partition_of(f"u{n}") for n in range(400)]
    assert set(found) == {0, 1, 2, 3} and min(np.bincount(found)) > 60


def test_a_checkpoint_written_while_others_are_read_is_read_again() -> None:
    """What it holds was let go here meanwhile: the older one would leave a hole."""
    here, owner = worker(), worker()
    theirs = learn(owner, "u v", "a b", partition=1)
    learn(owner, "w", "a", partition=2)
    for value in sent(owner):
        here.take(value, 0)

    class Files:
        """The owner of what is read first goes on then, and takes his next checkpoint."""

        reads = 0

        def read(self, name: str) -> Checkpoint:
            self.reads += 1
            number = int(name.rpartition("-")[2])
            state = theirs.partition_state(number)
            if self.reads == 1:
                for _ in range(2):
                    learn(owner, "x", "b", partition=number)
                    for value in sent(owner):
                        here.take(value, 0)
                    owner.settle(owner.positions())
            return Checkpoint(1, "{}", {f"default/{of}": it for of, it in state.items()}, 0)

    files: Any = Files()
    asyncio.run(DeltasStart(here._river, here, files)._rebuild("default", 0, {}))
    mine = here._river.learner("default")
    assert counts(mine) == counts(theirs)
    assert mine.exchange is not None
    assert not any(remote.torn for remote in mine.exchange.remotes.values())


def test_a_worker_with_too_many_items_starts_with_those_taken_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Items that nobody takes any more make room for new ones."""
    monkeypatch.setattr(crowding, "LATELY", 5)
    monkeypatch.setattr(topics, "partition_count", lambda *_: 2)
    before, after = worker(max_items=40), worker(max_items=40)
    for n in range(40):
        learn(before, f"u{n} v{n}", f"i{n} i{n}", partition=n % 2)
    learn(before, "u", "too-new")
    old, files = before._river.learner("default"), CheckpointStore(str(tmp_path))
    assert old.left_out.items_refused == 1
    for number in (0, 1):
        meta = PartitionMeta(number, 1, {}, 0, 0, {}, ["default"], b"", deltas=7)
        state = {f"default/{name}": each for name, each in old.partition_state(number).items()}
        files.write(partition_name(number), 1, state, encode_meta(meta))
    files.write("shared-default", 1, old.shared_state(), before.mark())
    asyncio.run(DeltasStart(after._river, after, files).prepare())
    new = after._river.learner("default")
    assert new.items == 30
    assert new.left_out.items_dropped == 10
    assert new._shared.items.find("i39") >= 0 > new._shared.items.find("i0")
    assert after.position == 7
    learn(after, "w", "too-new")
    assert new.has("w", "too-new")
    factors = [each._shared.model.factors.e_out for each in (old, new)]
    slots = [each._shared.items.find("i39") for each in (old, new)]
    assert np.array_equal(factors[0][slots[0]], factors[1][slots[1]])
