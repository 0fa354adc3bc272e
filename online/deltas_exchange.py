"""Exchange: what one learner tells the others about its partitions, and hears about theirs.

The item statistics are at all times the sum over *all* partitions, whoever owns them: an owner adds
what his users do, the others add his increments. When a partition moves, only its histories move;
the statistics hold it already, up to the number that its checkpoint states (see `deltas_journal`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from online.deltas_factors import MATRICES, FactorExchange
from online.deltas_journal import Journal, Kept, Remote, Run
from online.partition import Partition
from online.shared import Shared


class Exchange:
    """One learner's side of the exchange.

    Attributes:
        factors: the embeddings' and the blend's part of it.
        remotes: partition → what the statistics hold of it, for partitions of others.

    Args:
        shared: the learner's.
        partitions: the learner's own, by number.
        epoch_of: a partition's epoch, greater with every owner.
    """

    def __init__(
        self,
        shared: Shared,
        partitions: Mapping[int, Partition],
        epoch_of: Callable[[int], int],
    ) -> None:
        self.factors = FactorExchange(shared)
        self.remotes: dict[int, Remote] = {}
        self._shared = shared
        self._partitions = partitions
        self._epoch_of = epoch_of
        self._started = 0
        shared.on_new_items, shared.on_started = self.start_rows, self.factors.set_start

    def journal(self, partition: int, position: int = 0) -> Journal:
        """The journal of a partition that is ours from now on."""
        remote = self.remotes.pop(partition, None)
        if remote is not None:
            remote.back_to(position, self._shared)
        return Journal(self._epoch_of(partition), position)

    def holds(self, partition: int, position: int) -> bool:
        """Before a partition is taken over: whether the statistics hold it up to `position`.

        They do not before its checkpoint was ever read. Increments beyond are taken out.

        Raises:
            TornError: they hold something else: wait for what is still on its way, or `rebuild`.
        """
        remote = self.remotes.get(partition)
        if remote is None:  # what former owners sent may arrive while their checkpoint is loaded
            self.loaded(partition, self._epoch_of(partition), position)
            return False
        remote.back_to(position, self._shared)
        if remote.torn:
            raise TornError(
                f"partition {partition} at {remote.position}, its checkpoint at {position}"
            )
        return True

    def let_go(self, partition: int, journal: Journal) -> None:
        """The partition is another's from now on; what it added stays."""
        self.remotes[partition] = Remote(journal.epoch, journal.kept)

    def loaded(self, partition: int, epoch: int, position: int) -> None:
        """The statistics hold another's partition as of a checkpoint."""
        self.remotes[partition] = Remote(epoch, Kept(position))

    def cut(self) -> list[Run]:
        """What is new in our partitions."""
        clock = int(self._shared.model.clock[0])
        return [
            run
            for number, part in self._partitions.items()
            if part.journal is not None and part.journal.unsent
            for run in part.journal.cut(number, clock)
        ]

    @property
    def unsent(self) -> int:
        """Increments not cut yet."""
        return sum(p.journal.unsent for p in self._partitions.values() if p.journal is not None)

    @property
    def torn(self) -> list[int]:
        """Partitions of others of which increments never came."""
        return [number for number, remote in self.remotes.items() if remote.torn]

    def take(self, run: Run) -> int:
        """Add another worker's increments; returns how many were new."""
        if run.partition in self._partitions:
            return 0  # ours: an owner from before does not know yet
        remote = self.remotes.get(run.partition)
        if remote is None:
            remote = self.remotes[run.partition] = Remote(run.epoch, Kept(0))
        return remote.take(run, self._shared)

    def positions(self) -> dict[int, int]:
        """Partition of ours → number of its next increment: what a checkpoint of now will hold."""
        return {n: p.journal.position for n, p in self._partitions.items() if p.journal is not None}

    def settle(self, positions: Mapping[int, int]) -> None:
        """A checkpoint holds our partitions up to these numbers for good."""
        for number, position in positions.items():
            part = self._partitions.get(number)
            if part is not None and part.journal is not None:
                part.journal.kept.settle(position)

    def names(self, slots: npt.NDArray[np.int64]) -> list[str]:
        """Item ids."""
        return [self._shared.items.name(slot) for slot in slots.tolist()]

    def slots(self, names: Sequence[str]) -> npt.NDArray[np.int64]:
        """Slots of item ids, new ones where they are unknown, -1 where they are refused."""
        found = np.array([self._shared.intern(name) for name in names], dtype=np.int64)
        self._shared.reserve_items()
        return found

    def start_rows(self) -> None:
        """Give new items the start values that every worker gives them, by their names."""
        names, new = self._shared.items, np.arange(self._started, self._shared.items.size)
        f = self._shared.model.factors
        if not len(new):
            return
        for slot in new.tolist():
            drawn = start_of(names.name(slot), f.e_in.shape[1], self._shared.config.seed)
            f.e_in[slot], f.e_out[slot] = drawn
        for name in MATRICES:
            self.factors.set_start(name, new)
        self._started += len(new)

    def rebuild(self, load: Callable[[int], int | None], taking: int | None = None) -> None:
        """Build the statistics anew: from the histories here, and others' checkpoints.

        Args:
            taking: a partition that is being taken over. Its checkpoint is all that counts: what
                its former owner, who may be this one, learned beyond it is fetched again.
            load: adds a partition's checkpoint to the statistics; returns the number up to which
                it goes, None where there is none.
        """
        shared = self._shared
        shared.clear_statistics()
        for part in self._partitions.values():
            shared.replay(part.histories, np.arange(part.users.size, dtype=np.int64), 1)
        for number, remote in self.remotes.items():
            position = load(number) or 0
            held = Kept(position) if number == taking else remote.kept
            first = min(max(position, held.settled), held.position)
            beyond = held.between(first, held.position)
            remote.torn = position < held.settled
            remote.kept = Kept(max(first, position))
            remote.kept.add(beyond)
            shared.add_increments(beyond, 1)


class TornError(Exception):
    """The statistics of a partition have a hole, or hold what its checkpoint does not."""


def start_of(item: str, d: int, seed: int) -> npt.NDArray[np.float32]:
    """An item's start values, normal(0, .1), the same wherever it is met; float32[2, d]."""
    digest = hashlib.blake2b(item.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    generator = np.random.default_rng((seed, int.from_bytes(digest, "little")))
    return generator.normal(0, 0.1, (2, d)).astype(np.float32)
