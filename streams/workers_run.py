"""Several workers on one stream, as in production: partitioned users, deltas through the wire.

The code is the worker's: learners, their exchange, and the messages of item-deltas.v1; only
Kafka is not there. Every worker learns what its users do; after every so many events of the whole
stream all send and all read, which is the most that a worker's knowledge of the others lags.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from online.arrays import I32
from online.learner import Learner, LearnerConfig
from online.prequential_stream import Stream
from streams import deltas_wire, topics
from streams.events import user_key


class Exchanged(NamedTuple):
    """What a run gives.

    Attributes:
        ranks: int32[n], as `Learned.ranks`.
        increment_bytes, factor_bytes: of all messages sent.
        receive_seconds: of CPU, that all receivers took to read and add them.
    """

    ranks: I32
    increment_bytes: int
    factor_bytes: int
    receive_seconds: float


class Workers:
    """Learners that own a share of the partitions each."""

    def __init__(self, workers: int, partitions: int = topics.PARTITIONS) -> None:
        self._partitions = partitions
        self._sent = [0, 0]
        self._receive_seconds = 0.0
        self.learners = [Learner(LearnerConfig()) for _ in range(workers)]
        for learner in self.learners:
            learner.share(lambda partition: 1).factors.set_workers(workers)

    def partition_of(self, user: str) -> int:
        """As Kafka's default partitioner: murmur2 of the key."""
        from aiokafka.partitioner import murmur2

        return int((murmur2(user_key("default", user)) & 0x7FFFFFFF) % self._partitions)

    def run(self, stream: Stream, every: int, progress: Callable[[int], None]) -> Exchanged:
        """Rank and learn the stream, exchanging after every so many events."""
        ranks = np.zeros(len(stream), np.int32)
        of_user = np.array([self.partition_of(user) for user in stream.user_ids])
        for start in range(0, len(stream), every):
            window = np.arange(start, min(len(stream), start + every))
            for partition in range(self._partitions):
                at = window[of_user[stream.users[window]] == partition]
                learner = self.learners[partition % len(self.learners)]
                ranks[at] = learner.learn(
                    partition,
                    [stream.user_ids[u] for u in stream.users[at]],
                    [stream.item_ids[i] for i in stream.items[at]],
                    np.zeros(len(at), np.int8),
                    stream.times[at],
                ).ranks
            self.exchange()
            progress(len(window))
        return Exchanged(ranks, self._sent[0], self._sent[1], self._receive_seconds)

    def exchange(self) -> None:
        """Everyone sends, then everyone reads what the others sent."""
        if len(self.learners) < 2:
            return
        sent = [list(self._messages(number)) for number in range(len(self.learners))]
        began = time.process_time()
        for sender, messages in enumerate(sent):
            for value in messages:
                for receiver, learner in enumerate(self.learners):
                    if receiver != sender:
                        _receive(learner, value)
        self._receive_seconds += time.process_time() - began

    def _messages(self, number: int) -> Iterator[bytes]:
        exchange = self.learners[number].exchange
        assert exchange is not None
        worker = str(number)
        for run in exchange.cut():
            for message in deltas_wire.from_run("default", worker, run, exchange.names):
                yield self._counted(deltas_wire.encode(message), 0)
        for delta in exchange.factors.cut():
            message = deltas_wire.from_factors("default", worker, delta, exchange.names)
            yield self._counted(deltas_wire.encode(message), 1)
        exchange.settle(exchange.positions())

    def _counted(self, value: bytes, what: int) -> bytes:
        self._sent[what] += len(value)
        return value


def _receive(learner: Learner, value: bytes) -> None:
    exchange = learner.exchange
    assert exchange is not None
    message = deltas_wire.decode(value)
    slots = exchange.slots(message.items)
    if message.increments is not None:
        exchange.take(deltas_wire.to_run(message, slots))
    else:
        factors = exchange.factors
        factors.take(deltas_wire.to_factors(message, slots, factors.empty()))
