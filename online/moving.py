"""Moving: partitions come to a learner, and leave it, with what they added to the statistics.

In steps (see `online.steps`), because a million histories take their time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from online import popularity as po
from online import state
from online.arrays import I64
from online.deltas_exchange import Exchange
from online.partition import Partition
from online.shared import Shared
from online.steps import Steps

LOOKED_AT_ONCE = 100_000  # some 8 ms

Given = Mapping[str, npt.NDArray[Any]]


class Held(NamedTuple):
    """What a learner holds; `exchange` is None for one that is alone."""

    shared: Shared
    partitions: dict[int, Partition]
    exchange: Exchange | None


def loading(
    held: Held, partition: int, arrays: Given, first_change: list[state.Arrays] | None
) -> Steps:
    """Take over a partition; it is among the learner's own when all is done.

    Raises:
        TornError: others' increments of the partition do not match it (see `Exchange.rebuild`).
    """
    yield from dropping(held, partition)
    if "clock" not in arrays:  # a tenant without events when the checkpoint was taken
        return
    shared, exchange = held.shared, held.exchange
    position = state.position_in(arrays)
    known = exchange is not None and exchange.holds(partition, position)
    made: list[Partition] = []
    yield _restoring(shared, arrays, made, first_change)
    part = made.pop()
    if not known:
        yield from shared.replaying(part.histories, _all_users(part), 1)
    if exchange is not None:
        part.journal = exchange.journal(partition, position)
    held.partitions[partition] = part
    shared.moved = True


def load_others(shared: Shared, arrays: Given) -> int:
    """Add another learner's partition to the statistics; returns where its journal is."""
    if "clock" in arrays:
        made: list[Partition] = []
        _restoring(shared, arrays, made, None)()
        shared.replay(made[0].histories, _all_users(made[0]), 1)
    return state.position_in(arrays)


def dropping(held: Held, partition: int) -> Steps:
    """Let a partition go; what it added stays where deltas are exchanged: the next owner's."""
    part = held.partitions.pop(partition, None)
    if part is None:
        return
    held.shared.moved = True
    if held.exchange is not None and part.journal is not None:
        held.exchange.let_go(partition, part.journal)
    else:
        yield from held.shared.replaying(part.histories, _all_users(part), -1)


def sharing(held: Held, arrays: state.Arrays) -> Steps:
    """Copy what belongs to no partition, without recent interactions of users who are not ours.

    Those came with a partition that has left, or with another's shared state. Whoever erases such a
    user is told his name; here nobody would know it.
    """
    shared = held.shared
    if held.exchange is not None and shared.moved:
        shared.moved = False
        yield from _forgetting_others(held)
    yield from state.shared_copying(lambda: shared.model, shared.items, arrays)


def _forgetting_others(held: Held) -> Steps:
    recent = np.unique(held.shared.model.factors.recent_user)
    ours = np.zeros(len(recent), bool)
    for part in list(held.partitions.values()):
        for first in range(0, part.users.size, LOOKED_AT_ONCE):
            ours |= np.isin(recent, part.hashes[first : first + LOOKED_AT_ONCE])
            yield None
    held.shared.forget_recent(recent[~ours])


def _restoring(
    shared: Shared,
    arrays: Given,
    made: list[Partition],
    first_change: list[state.Arrays] | None,
) -> Callable[[], None]:
    """Learn of items and time here; the function returned makes the partition anywhere."""
    arrays, slots = shared.crowding.without_past(arrays, shared.slots_of(arrays))
    # Taken here, not where the partition is made: others meet new items meanwhile.
    clock, size = shared.model.clock, shared.items.size
    behind = int(arrays["clock"][0] - clock[0])
    if behind > 0:
        po.pass_ticks(shared.model.popularity, behind)
        clock[0] += behind

    def restore() -> None:
        part = state.partition_from(arrays, slots, shared.room)
        if first_change is not None:
            whole = state.partition_changes(part, shared.items, clock, size)
            first_change.append(whole | {"journal": np.array([state.position_in(arrays)])})
        made.append(part)

    return restore


def _all_users(part: Partition) -> I64:
    return np.arange(part.users.size, dtype=np.int64)
