"""Deltas that come at the wrong time, or from workers that nobody has counted yet."""

from __future__ import annotations

from typing import Any

import numpy as np

from online.deltas_exchange import Exchange
from online.deltas_journal import Run
from online.learner import Learner
from online.steps import finish


def hear(run: Run, sender: Exchange, receiver: Exchange) -> int:
    """As if the run had come over the wire; both know all items under the same slots."""
    assert sender.names(np.arange(3)) == receiver.names(np.arange(3))
    return receiver.take(run)


def two_workers(make_learner: Any, stream: Any) -> tuple[Learner, Learner, Exchange, Exchange]:
    one, two = make_learner(), make_learner()
    sender, receiver = one.share(lambda partition: 1), two.share(lambda partition: 2)
    for exchange in (sender, receiver):
        exchange.slots(sorted(set(stream.items)))
    return one, two, sender, receiver


def test_somebody_erased_since_the_checkpoint_is_taken_back_in_the_right_order(
    make_learner: Any, stream: Any, statistics: Any
) -> None:
    owner, other, sender, receiver = two_workers(make_learner, stream)
    before = owner.partition_state(0)
    stream.learn(owner)
    owner.forget_user(0, "u3")  # what he added since the checkpoint is taken out after it
    for run in sender.cut():
        hear(run, sender, receiver)
    assert statistics(other) == statistics(owner)
    other.load_partition(0, before)  # the owner died, and his checkpoint holds none of it
    assert statistics(other) == {}


def test_what_a_checkpoint_holds_may_be_heard_while_it_is_loaded(
    make_learner: Any, stream: Any, statistics: Any
) -> None:
    owner, heir, sender, receiver = two_workers(make_learner, stream)
    stream.learn(owner)
    steps = heir.loading(0, owner.partition_state(0))
    finish(iter([next(steps)]))
    for run in sender.cut():
        hear(run, sender, receiver)
    finish(steps)
    assert statistics(heir) == statistics(owner)


def test_a_worker_that_hears_of_more_than_it_counted_keeps_its_weights_finite(
    make_learner: Any, new_stream: Any
) -> None:
    """Squares fall from 1; the sum of what four saw fall is more than there was."""
    late = make_learner()
    exchange = late.share(lambda partition: 1)
    fallen = exchange.factors.empty()
    fallen.squared[:] = fallen.content_squared[:] = -0.9
    for _ in range(4):
        exchange.factors.take(fallen)
    blend = late._shared.model.blend
    assert (blend.squared > 0).all()
    new_stream(900).learn(late)
    assert np.isfinite(blend.weights).all()


def test_weights_that_are_no_numbers_begin_anew_with_the_next_start(
    make_learner: Any, stream: Any
) -> None:
    sick, well = make_learner(), make_learner()
    stream.learn(sick)
    saved = sick.shared_state()
    saved["blend.weights"][2, 3] = np.nan
    saved["blend.squared"][4, 5] = -1
    well.load_shared(saved)
    blend, start = well._shared.model.blend, make_learner()._shared.model.blend
    assert blend.weights[2, 3] == start.weights[2, 3]
    assert blend.squared[4, 5] == start.squared[4, 5]
    sound = np.isfinite(saved["blend.weights"]) & (saved["blend.squared"] >= 0)
    assert np.array_equal(blend.weights[sound], saved["blend.weights"][sound])


def test_a_warm_start_is_told_to_nobody_and_hides_nothing(make_learner: Any, stream: Any) -> None:
    from online.warm_start import ItemFactors

    one, _, sender, _ = two_workers(make_learner, stream)
    sender.factors.set_workers(2)
    stream.learn(one)
    given = ItemFactors(["new"], np.ones((1, 16), np.float32), np.ones(1, np.float32))
    assert one.warm_start(given) == 1
    told = {name for delta in sender.factors.cut() for name in sender.names(delta.slots)}
    assert "new" not in told
    assert told == set(stream.items)
