"""Deltas: what others add is added once, whatever is repeated, overtaken, crashed or taken over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.blend import new_blend
from online.deltas_exchange import TornError
from online.deltas_journal import BLOCK, Run
from online.learner import Learner

Make = Callable[..., Learner]


class Worker:
    """A learner that exchanges, with the epochs of its partitions."""

    def __init__(self, make_learner: Make, **changes: int) -> None:
        self.learner = make_learner(**changes)
        self.epochs: dict[int, int] = {}
        self.exchange = self.learner.share(lambda partition: self.epochs.get(partition, 1))

    def take(self, run: Run, sender: Worker) -> int:
        """As if the run had come over the wire: other slots, and ages in place of stamps."""
        names = sender.exchange.names(np.arange(sender.learner.items))
        slots = np.append(self.exchange.slots(names), -1).astype(np.int32)
        old = run.increments
        return self.exchange.take(
            run._replace(
                clock=0,
                increments=old._replace(
                    items=slots[old.items],
                    contexts=slots[old.contexts],
                    stamps=old.stamps - run.clock,
                ),
            )
        )


@pytest.fixture
def pair(make_learner: Make) -> tuple[Worker, Worker]:
    return Worker(make_learner), Worker(make_learner)


def halves(stream: Any) -> tuple[Any, Any]:
    """The even and the odd users' interactions."""
    mine = stream.of(*(f"u{n}" for n in range(0, 30, 2)))
    return stream.where(mine), stream.where(~mine)


def test_both_know_what_one_would(
    pair: tuple[Worker, Worker], make_learner: Make, stream: Any, statistics: Any
) -> None:
    one, two = pair
    left, right = halves(stream)
    for part in range(7):
        left.where(np.arange(len(left.users)) // 100 == part).learn(one.learner, partition=0)
        right.where(np.arange(len(right.users)) // 100 == part).learn(two.learner, partition=1)
        for sender, receiver in ((one, two), (two, one)):
            for run in sender.exchange.cut():
                receiver.take(run, sender)
    whole = make_learner()
    for half in (left, right):  # each user's own order is all that matters
        half.where(np.arange(len(half.users)) < 700).learn(whole)
    assert statistics(one.learner) == statistics(whole) == statistics(two.learner)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_repeats_and_overtaking_change_nothing(
    make_learner: Make, new_stream: Any, statistics: Any, data: st.DataObject
) -> None:
    one, two = Worker(make_learner), Worker(make_learner)
    stream, sent = new_stream(300, users=8, items=40), []
    for start in range(0, 300, 60):
        stream.where(np.arange(300) // 60 == start // 60).learn(one.learner)
        sent += one.exchange.cut()
    # Messages of one block are cumulative: the last one says what all before it said.
    order = data.draw(st.lists(st.sampled_from(sent), max_size=6))
    for run in [*order, sent[-1], *order]:
        two.take(run, one)
    assert statistics(two.learner) == statistics(one.learner)


def test_blocks_are_cut_at_a_thousand(
    pair: tuple[Worker, Worker], new_stream: Any, statistics: Any
) -> None:
    one, two = pair
    new_stream(2_600).learn(one.learner)
    runs = one.exchange.cut()
    assert [run.block for run in runs] == [0, 1, 2]
    assert all(run.upto - run.first <= BLOCK for run in runs)
    assert one.exchange.cut() == []
    for run in runs:
        two.take(run, one)
    one.exchange.settle(one.exchange.positions())
    assert sum(len(part.journal.kept) for part in one.learner._partitions.values()) == 0
    assert statistics(two.learner) == statistics(one.learner)


def test_what_no_checkpoint_held_is_taken_out_when_it_comes_again_otherwise(
    make_learner: Make, stream: Any, statistics: Any
) -> None:
    first, other, heir = (Worker(make_learner) for _ in range(3))
    early = stream.where(np.arange(1_500) < 700)
    late = stream.where(np.arange(1_500) >= 700)
    early.learn(first.learner)
    saved = first.learner.partition_state(0)
    late.learn(first.learner)
    for run in first.exchange.cut():
        other.take(run, first)  # then the first one dies
    heir.epochs[0] = 2
    heir.learner.load_partition(0, saved)
    again = np.argsort([int(user[1:]) for user in late.users], kind="stable")
    reordered = type(late)(
        [late.users[i] for i in again], [late.items[i] for i in again],
        late.kinds[again], late.times[again],
    )  # fmt: skip
    reordered.learn(heir.learner)
    for run in heir.exchange.cut():
        other.take(run, heir)
    assert statistics(other.learner) == statistics(heir.learner)
    for run in first.exchange.cut():  # a zombie says something after all
        assert other.take(run, first) == 0


def test_a_partition_that_moves_is_counted_once(
    pair: tuple[Worker, Worker], stream: Any, statistics: Any
) -> None:
    one, two = pair
    left, right = halves(stream)
    left.learn(one.learner, partition=0)
    right.learn(two.learner, partition=1)
    for sender, receiver in ((one, two), (two, one)):
        for run in sender.exchange.cut():
            receiver.take(run, sender)
    before = statistics(two.learner)
    saved = one.learner.partition_state(0)
    one.learner.drop_partition(0)
    assert statistics(one.learner) == before  # the next owner's part stays
    two.epochs[0] = 2
    two.learner.load_partition(0, saved)
    assert statistics(two.learner) == before
    assert two.learner.users == 30 and one.learner.users == 0


def test_a_user_forgotten_there_is_as_never_seen_here(
    make_learner: Make, new_stream: Any, statistics: Any
) -> None:
    stream = new_stream(600, users=12, items=60)
    one, two, innocent = (Worker(make_learner, max_history=24) for _ in range(3))
    stream.learn(one.learner)
    gone = [f"u{n}" for n in range(5)]
    for user in gone:
        one.learner.forget_user(0, user)
    for run in one.exchange.cut():
        two.take(run, one)
    stream.where(~stream.of(*gone)).learn(innocent.learner)
    assert statistics(two.learner) == statistics(innocent.learner)


def test_a_hole_is_known_and_closed_from_the_checkpoint(
    pair: tuple[Worker, Worker], new_stream: Any, statistics: Any
) -> None:
    one, two = pair
    new_stream(3_000).learn(one.learner)
    runs = one.exchange.cut()
    for run in (runs[0], runs[2]):  # the second was unreadable
        two.take(run, one)
    saved = one.learner.partition_state(0)
    assert statistics(two.learner) != statistics(one.learner)
    with pytest.raises(TornError):
        two.learner.load_partition(0, saved)
    two.exchange.rebuild(lambda number: two.learner.load_others(saved))
    assert statistics(two.learner) == statistics(one.learner)
    two.learner.load_partition(0, saved)
    assert statistics(two.learner) == statistics(one.learner)


def test_an_owner_that_was_thought_dead_takes_its_partition_back(
    pair: tuple[Worker, Worker], new_stream: Any, statistics: Any
) -> None:
    one, innocent = pair
    stream = new_stream(3_000)
    stream.where(np.arange(3_000) < 2_000).learn(one.learner)
    saved = one.learner.partition_state(0)  # from here another owner went on, and is gone too
    stream.where(np.arange(3_000) >= 2_000).learn(one.learner)
    one.exchange.settle(one.exchange.positions())  # a checkpoint that nobody will read
    one.learner.drop_partition(0)
    with pytest.raises(TornError):
        one.learner.load_partition(0, saved)
    one.exchange.rebuild(lambda number: one.learner.load_others(saved), taking=0)
    one.learner.load_partition(0, saved)
    innocent.learner.load_partition(0, saved)
    assert statistics(one.learner) == statistics(innocent.learner)


def test_a_new_worker_starts_from_the_checkpoints_of_all(
    pair: tuple[Worker, Worker], stream: Any, statistics: Any
) -> None:
    one, two = pair
    first = stream.where(np.arange(1_500) < 1_000)
    first.learn(one.learner)
    saved = one.learner.partition_state(0)
    stream.where(np.arange(1_500) >= 1_000).learn(one.learner)
    position = two.learner.load_others(saved)
    two.exchange.loaded(0, 1, position)
    for run in one.exchange.cut():  # some of it is in the file, some is not
        two.take(run, one)
    assert statistics(two.learner) == statistics(one.learner)


def moved(worker: Worker) -> Sequence[Any]:
    return worker.exchange.factors.cut()


def test_embedding_steps_are_summed_and_the_blends_shared_by_the_root_of_the_workers(
    pair: tuple[Worker, Worker], stream: Any
) -> None:
    one, two = pair
    for worker in pair:
        worker.exchange.slots([f"i{n}" for n in range(150)])
        worker.exchange.factors.set_workers(2)
    start = one.learner._shared.model.factors.e_in[:150].copy()
    assert np.array_equal(start, two.learner._shared.model.factors.e_in[:150])
    left, right = halves(stream)
    left.learn(one.learner, partition=0)
    right.learn(two.learner, partition=1)
    steps = [w.learner._shared.model.factors.e_in[:150] - start for w in pair]
    blends = [w.learner._shared.model.blend.weights - new_blend().weights for w in pair]
    said = [moved(worker) for worker in pair]
    for delta in said[1]:
        one.exchange.factors.take(delta)
    for delta in said[0]:
        two.exchange.factors.take(delta)
    for worker in pair:
        model = worker.learner._shared.model
        assert np.allclose(model.factors.e_in[:150] - start, sum(steps), atol=2e-3)
        assert model.rates[1] == 2**0.5 * worker.learner.config.blend_rate
        blended = model.blend.weights - new_blend().weights
        assert np.allclose(blended, sum(blends) / 2**0.5, atol=1e-5)
    a, b = (w.learner._shared.model.blend.weights for w in pair)
    assert np.allclose(a, b, atol=1e-5)


def test_a_shared_state_holds_recent_interactions_of_our_own_users_only(
    make_learner: Make, stream: Any
) -> None:
    def known(arrays: Any) -> set[int]:
        return set(arrays["factors.recent_user"].tolist()) - {0}

    pair = Worker(make_learner, recent=8_192), Worker(make_learner, recent=8_192)
    one, two = (worker.learner for worker in pair)
    left, right = halves(stream)
    left.learn(one, partition=0)
    right.learn(one, partition=1)
    both = one.shared_state()
    ours = set(one._partitions[0].hashes.tolist())
    theirs = set(one._partitions[1].hashes.tolist()) - {0}
    assert known(both) & theirs and known(both) & ours
    pair[0].epochs[1] = 2
    moved = one.partition_state(1)
    one.drop_partition(1)
    assert known(one.shared_state()) == known(both) - theirs
    assert np.all(one._shared.model.factors.recent[: len(both["factors.recent"])] >= -1)
    two.load_shared(both)
    two.load_partition(1, moved)
    assert known(two.shared_state()) == known(both) & theirs


def test_alone_nothing_is_said_of_factors(pair: tuple[Worker, Worker], stream: Any) -> None:
    stream.learn(pair[0].learner)
    assert moved(pair[0]) == []
