"""Journals: the increments of one user partition, numbered, as their owner and as others hold them.

The owner numbers the increments of a partition 0, 1, 2, … and saves how many there were with the
partition's checkpoint. Kafka's offsets would not do: clicks, purchases and comments are three
topics that meet in another order after a crash, and a cut history or an evicted user has no offset.

Numbers are cut in blocks of 1,000. What is sent of a block is always all of it that no checkpoint
holds yet, so a message that is repeated, or overtaken by its successor, changes nothing. Who takes
a partition over starts at the number in its checkpoint, under a higher epoch: what others had
beyond it is taken out of their statistics, and comes again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from online import deltas
from online.deltas import Increments

if TYPE_CHECKING:
    from online.shared import Shared

BLOCK = 1_000


class Run(NamedTuple):
    """Consecutive increments of one block of a partition.

    Attributes:
        epoch: the owner's; began: the number at which his ownership began.
        first, upto: numbers, from the first to before the last.
        settled: increments with lower numbers are in a checkpoint for good.
        clock: of the sender when it was cut; an age is clock − stamp.
    """

    partition: int
    epoch: int
    began: int
    first: int
    upto: int
    settled: int
    clock: int
    increments: Increments

    @property
    def block(self) -> int:
        """The block's number."""
        return self.first // BLOCK


class Kept:
    """Increments from number `settled` to before `position`: those that may have to go again."""

    def __init__(self, position: int) -> None:
        self.settled = position
        self.position = position
        self._parts: list[Increments] = []

    def __len__(self) -> int:
        return self.position - self.settled

    def add(self, increments: Increments) -> None:
        """The next ones."""
        if increments.size:
            self._parts.append(increments)
            self.position += increments.size

    def between(self, first: int, upto: int) -> Increments:
        """Those with these numbers."""
        self._parts = [deltas.joined(self._parts)]
        return self._parts[0].between(first - self.settled, upto - self.settled)

    def settle(self, position: int) -> None:
        """Let those with lower numbers go."""
        position = min(position, self.position)
        if position > self.settled:
            self._parts = [self.between(position, self.position).copied()]
            self.settled = position

    def cut_back(self, position: int) -> Increments:
        """Give back those from `position` on."""
        gone = self.between(position, self.position)
        self._parts = [self.between(self.settled, position)]
        self.position = position
        return gone


class Journal:
    """What the owner of a partition keeps and sends."""

    def __init__(self, epoch: int, position: int) -> None:
        self.epoch = epoch
        self.began = position
        self.kept = Kept(position)
        self._sent = position

    @property
    def position(self) -> int:
        """The number of the next increment."""
        return self.kept.position

    @property
    def unsent(self) -> int:
        """Increments not cut yet."""
        return self.kept.position - self._sent

    def cut(self, partition: int, clock: int) -> list[Run]:
        """The blocks in which something is new, each with all of it that is not settled."""
        runs = []
        first = max(self._sent - self._sent % BLOCK, self.kept.settled)
        while first < self.position:
            upto = min(first - first % BLOCK + BLOCK, self.position)
            runs.append(
                Run(
                    partition,
                    self.epoch,
                    self.began,
                    first,
                    upto,
                    self.kept.settled,
                    clock,
                    self.kept.between(first, upto),
                )
            )
            first = upto
        self._sent = self.position
        return runs


class Remote:
    """What a learner holds of a partition that another one owns.

    Attributes:
        torn: some increments never came (they were unreadable, or expired): the statistics lack
            them until they are built anew from the checkpoints.
    """

    def __init__(self, epoch: int, kept: Kept) -> None:
        self.epoch = epoch
        self.kept = kept
        self.torn = False

    @property
    def position(self) -> int:
        """The number of the next increment."""
        return self.kept.position

    def take(self, run: Run, shared: Shared) -> int:
        """Add what is new of a run to the statistics; returns how many increments that were."""
        if run.epoch < self.epoch:
            return 0  # of an owner who does not know yet that he is none any more
        if run.epoch > self.epoch:
            self.epoch = run.epoch
            self.back_to(run.began, shared)
        if run.upto <= self.position:
            return 0
        new = run.increments.between(max(0, self.position - run.first), run.increments.size)
        if run.first > self.position:
            self.torn = True
            self.kept = Kept(run.first)
        deltas.pass_live(shared.model, new.halves)
        ages = run.clock - new.stamps
        new = new._replace(stamps=shared.model.clock[0] - ages)
        shared.add_increments(new, 1)
        self.kept.add(new)
        self.kept.settle(run.settled)
        return new.size

    def back_to(self, position: int, shared: Shared) -> None:
        """Take out what came beyond `position`, the newest first.

        What an increment took out was there before: the other way round a sum would stop at zero.
        """
        if position < self.kept.settled or position > self.position:
            self.torn = True
        elif position < self.position:
            shared.add_increments(self.kept.cut_back(position).reversed(), -1)
