"""Workers join, hand on, crash and come back; users are dropped, erased, their histories cut.

Whatever the order, every worker's item statistics are those of the histories that the owners keep.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from online.changes import merged
from online.deltas_exchange import TornError
from online.learner import Learner
from online.state import Arrays, position_in
from online.steps import finish
from streams import deltas_wire as wire

PARTITIONS = 3
ERASED = ""  # in place of an item: the user is


class File(NamedTuple):
    """A partition's checkpoint: its owner, the events it holds, where to go on reading deltas."""

    epoch: int
    events: int
    arrays: Arrays
    deltas: int


class House:
    """What workers share: events by partition, checkpoints, the topic of deltas."""

    def __init__(self, make: Callable[[], Learner], stream: Any, chance: random.Random) -> None:
        self.make, self.chance = make, chance
        self.files: dict[int, File] = {}
        self.epochs = dict.fromkeys(range(PARTITIONS), 0)
        self.topic: list[bytes] = []
        self.events: list[list[tuple[str, str, int]]] = [[] for _ in range(PARTITIONS)]
        for user, item, kind in zip(stream.users, stream.items, stream.kinds, strict=True):
            mine = self.events[int(user[1:]) % PARTITIONS]
            mine.append((user, item, kind))
            if chance.random() < 0.02:
                mine.append((user, ERASED, 0))
        self.workers = [Worker(self, "w0")]

    def owner(self, partition: int) -> Worker | None:
        return next((w for w in self.workers if partition in w.owned), None)

    def step(self, number: int) -> None:
        chance, worker = self.chance, self.chance.choice(self.workers)
        for partition in range(PARTITIONS):
            if self.owner(partition) is None and chance.random() < 0.7:
                chance.choice(self.workers).take_over(partition)
        what = chance.random()
        if what < 0.35 and worker.owned:
            worker.learn(chance.choice(list(worker.owned)), chance.randint(1, 25))
        elif what < 0.5:
            worker.send()
        elif what < 0.7:
            worker.read(chance.randint(1, 8))
        elif what < 0.8:
            worker.save()
        elif what < 0.9 and worker.owned:
            worker.let_go(chance.choice(list(worker.owned)), saved=chance.random() < 0.7)
        elif what < 0.95 and len(self.workers) < 3:
            self.workers.append(Worker(self, f"w{number}"))
        elif what < 0.98 and len(self.workers) > 1:
            self.workers.remove(worker)  # a crash

    def come_to_rest(self) -> None:
        for partition in range(PARTITIONS):
            if self.owner(partition) is None:
                self.workers[0].take_over(partition)
        for step in (lambda w: [w.learn(p, 10_000) for p in list(w.owned)], Worker.send,
                     lambda w: w.read(10_000)):  # fmt: skip
            for worker in self.workers:
                step(worker)


class Worker:
    """A learner with what a worker does around it."""

    def __init__(self, house: House, name: str) -> None:
        self.house, self.name, self.learner = house, name, house.make()
        self.owned: dict[int, int] = {}  # partition → events learned
        self.saved: dict[int, Arrays] = {}
        self.epochs: dict[int, int] = {}
        self.exchange = self.learner.share(lambda partition: self.epochs.get(partition, 0))
        for number, file in house.files.items():
            self.exchange.loaded(number, file.epoch, self.learner.load_others(file.arrays))
        known = [file.deltas for file in house.files.values()]
        self.at = min(known) if len(known) == PARTITIONS else 0

    def send(self) -> None:
        for run in self.exchange.cut():
            messages = wire.from_run("t", self.name, run, self.exchange.names)
            self.house.topic += map(wire.encode, messages)

    def read(self, most: int) -> None:
        for value in self.house.topic[self.at : self.at + most]:
            self.at += 1
            message = wire.decode(value)
            if message.worker != self.name:
                self.exchange.take(wire.to_run(message, self.exchange.slots(message.items)))

    def learn(self, partition: int, most: int) -> None:
        begin = self.owned[partition]
        for user, item, kind in self.house.events[partition][begin : begin + most]:
            self.owned[partition] += 1
            if item == ERASED:
                self.learner.forget_user(partition, user)
                continue
            at = np.array([self.owned[partition]], np.float64)
            self.learner.learn(partition, [user], [item], np.array([kind], np.int8), at)

    def save(self) -> None:
        self.send()
        positions = self.exchange.positions()
        for number, events in self.owned.items():
            change = self.learner.partition_changes(number)
            before = self.saved.get(number)
            self.saved[number] = change if before is None else merged(before, change)
            file = File(self.epochs[number], events, self.saved[number], self.at)
            self.house.files[number] = file
        self.exchange.settle(positions)

    def take_over(self, partition: int) -> None:
        self.house.epochs[partition] += 1
        self.epochs[partition] = self.house.epochs[partition]
        file = self.house.files.get(partition)
        self.owned[partition] = 0
        if file is None:
            return
        if self.house.chance.random() < 0.9:  # else what its last owner sent came too late
            self.read(10_000)
        first: list[Arrays] = []
        try:
            self._load(partition, file, first)
        except TornError:
            files = self.house.files
            self.exchange.rebuild(
                lambda n: self.learner.load_others(files[n].arrays) if n in files else None,
                partition,
            )
            self._load(partition, file, first)
        self.owned[partition], self.saved[partition] = file.events, first[0]
        self.house.files[partition] = file._replace(epoch=self.epochs[partition], arrays=first[0])

    def _load(self, partition: int, file: File, first: list[Arrays]) -> None:
        for aside in self.learner.loading(partition, file.arrays, first):
            finish(iter([aside]))
            self.read(self.house.chance.randint(0, 1))  # others are heard meanwhile

    def let_go(self, partition: int, saved: bool) -> None:
        if saved:
            self.save()
        self.owned.pop(partition)
        self.saved.pop(partition, None)
        self.learner.drop_partition(partition)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("limits", [{}, {"max_history": 12, "max_users": 9}], ids=["", "full"])
def test_every_worker_has_the_statistics_of_the_histories(
    make_learner: Any, new_stream: Any, statistics: Any, seed: int, limits: dict[str, int]
) -> None:
    stream = new_stream(400, users=24, items=60, seed=seed)
    house = House(lambda: make_learner(**limits), stream, random.Random(seed))
    for number in range(1, 120):
        house.step(number)
    house.come_to_rest()
    whole = make_learner()
    for partition in range(PARTITIONS):
        owner = house.owner(partition)
        assert owner is not None
        state = owner.learner.partition_state(partition)
        assert position_in(state) == owner.exchange.positions()[partition]
        whole.load_partition(partition, state)
    for worker in house.workers:
        assert statistics(worker.learner) == statistics(whole), worker.name
    assert sum(worker.learner.events_learned() for worker in house.workers) == 400
