"""What a worker does that others cannot hear at once: silence, a start, a hole in what was sent."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streams import deltas_wire
from streams.deltas import Deltas
from tests.streams.test_deltas import learn, sent, worker


def rows(deltas: Deltas) -> Any:
    shared = deltas._river.learner("default")._shared
    names = [shared.items.name(slot) for slot in range(shared.items.size)]
    return {name: shared.model.factors.e_in[slot].copy() for slot, name in enumerate(names)}


def equal(one: Deltas, other: Deltas) -> bool:
    ours, theirs = rows(one), rows(other)
    if ours.keys() != theirs.keys():
        return False
    return all(np.allclose(ours[name], theirs[name], atol=1e-3) for name in ours)


def two_that_know_each_other() -> tuple[Deltas, Deltas]:
    here, there = worker(), worker()
    for deltas in (here, there):
        deltas.caught_up.set()
        learn(deltas, "u", "a", partition=int(deltas is there))
    there.take(sent(here)[0], 0)
    here.take(sent(there)[0], 1)
    return here, there


def test_what_moves_beside_a_silent_worker_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = two_that_know_each_other()
    monkeypatch.setattr("streams.deltas.ALIVE_SECONDS", -1.0)  # all are silent from now on
    there.cut()
    for offset in range(2, 5):
        learner = learn(here, "u u u u", "b a b a")
        model = learner._shared.model
        weights = model.blend.weights.copy()
        assert not equal(here, there)
        for value in sent(here):
            there.take(value, offset)
        assert equal(here, there)
        assert model.rates[1] == learner.config.blend_rate, "alone, at its own rate"
        assert np.array_equal(model.blend.weights, weights), "and its blend is its own"


def test_who_begins_anew_goes_on_telling_those_who_were_told_before() -> None:
    here, there = two_that_know_each_other()
    learn(there, "u u u u", "b a b a", partition=1)
    told, again = sent(there), worker()
    for offset, value in enumerate(told):  # of before its start
        again.take(value, offset)
        here.take(value, offset)
    learner = again._river.learner("default")
    assert learner._shared.model.rates[1] == learner.config.blend_rate, "now it learns alone"
    learn(again, "v v v", "a b a", partition=0)
    assert any(deltas_wire.decode(value).factors for value in sent(again))


def test_who_is_new_says_so_before_he_learns_and_one_alone_is_told_nothing_of_himself() -> None:
    here, there, after = worker(), worker(), worker()
    learn(here, "u", "a")
    there._river.learner("default")
    asyncio.run(there._greet())
    greeting = sent(there)
    for value in greeting:
        after.take(value, 0)
        here.caught_up.set()
        here.take(value, 0)
    learn(here, "u u u u", "b a b a")
    assert any(deltas_wire.decode(value).factors for value in sent(here))
    learn(after, "u u u u", "b a b a")
    assert not any(deltas_wire.decode(value).factors for value in sent(after))


def test_increments_that_never_came_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    here, there = worker(), worker()
    learn(here, "u u v", "a b a")
    sent(here)
    here.settle(here.positions())
    learn(here, "v", "b")
    records = [SimpleNamespace(value=value, offset=9) for value in sent(here)]
    asyncio.run(there._take_all(records))
    assert there._river.metrics.deltas_torn._value.get() == 1
    asyncio.run(there._take_all(records))
    assert capsys.readouterr().out.count("deltas.torn") == 1
