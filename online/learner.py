"""The learner of one tenant: interactions in, top-K lists out.

`learn` ranks every interaction before it learns from it, so that quality is measured on the live
stream; `top_k` makes the same list that was measured. Arrays and kernels meet here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from online import arrivals, content_items, learning, lists, moving, state, warm_start
from online import cooccurrence as co
from online.arrays import F64, I8
from online.blend import MISS
from online.changes import events_in, items_in, users_in
from online.config import LearnerConfig
from online.deltas_exchange import Exchange
from online.interactions import Kind, Learned, LeftOut
from online.partition import Partition, longest_silent
from online.shared import Shared
from online.steps import Steps, finish
from online.topk import TopK

__all__ = [
    "MISS", "Kind", "Learned", "Learner", "LearnerConfig", "TopK", "events_in", "items_in",
    "users_in",
]  # fmt: skip


class Learner:
    """Learns interactions in order and lists the best items of a user at any time."""

    def __init__(self, config: LearnerConfig = LearnerConfig()) -> None:  # noqa: B008 (frozen)
        self.config = config
        self.users_dropped, self._newest = 0, 0.0
        self._shared = Shared(config)
        self.content = content_items.ItemContents(self._shared)
        self.crowding = self._shared.crowding
        self._partitions: dict[int, Partition] = {}
        self.exchange: Exchange | None = None

    def share(self, epoch_of: Callable[[int], int]) -> Exchange:
        """Exchange deltas from now on with the learners of other partitions; call at the start.

        `epoch_of`: the epoch of a partition that we own, greater with every owner.
        """
        self.exchange = Exchange(self._shared, self._partitions, epoch_of)
        return self.exchange

    def learn(
        self,
        partition: int,
        users: Sequence[str],
        items: Sequence[str],
        kinds: I8,
        times: F64,
    ) -> Learned:
        """Rank and learn interactions of one partition, in order; equal to one at a time.

        Args:
            partition: the users'; users, items: ids.
            kinds: int8[n], see Kind; times: float64[n], in epoch seconds: who is silent longest?

        Raises:
            ValueError: the arguments differ in length, or a kind is none.
        """
        part = self._partition(partition)
        events, active_at = arrivals.read(self._shared, part, users, items, kinds, times)
        new = np.flatnonzero(events.users < 0).tolist()
        start = 0
        if new and self.users + len(new) > self.config.max_users:
            start = self._learn_with_drops(part, users, active_at.tolist(), events)
        else:
            arrivals.welcome(part, events, new, users, active_at)
            self._newest = max(self._newest, float(active_at.max(initial=0.0)))
        self._shared.learn(part, events.between(start, len(users)))
        return Learned(events.ranks, events.popularity_ranks)

    def _learn_with_drops(
        self, part: Partition, users: Sequence[str], times: list[float], events: learning.Events
    ) -> int:
        """Give users slots, dropping others for new ones; the first interaction not learned yet."""
        start = 0
        for at, (user, time) in enumerate(zip(users, times, strict=True)):
            slot = part.users.find(user)
            if slot < 0:
                if self.users >= self.config.max_users:
                    self._shared.learn(part, events.between(start, at))
                    start = at
                    self._drop_silent_users()
                slot = part.add_user(user, time)
            part.last_active[slot] = max(part.last_active[slot], time)
            self._newest = max(self._newest, time)
            events.users[at] = slot
            events.hashes[at] = part.hashes[slot]
        return start

    @property
    def users(self) -> int:
        """Users held."""
        return sum(len(part.users) for part in self._partitions.values())

    @property
    def items(self) -> int:
        """Items known, from interactions or the catalogue."""
        return len(self._shared.items)

    @property
    def left_out(self) -> LeftOut:
        """What it was told of and does not hold."""
        s = self._shared
        pairs = int(s.model.pairs.state[co.REFUSED])
        return LeftOut(self.users_dropped, s.items_refused, len(s.crowding.dropped), pairs)

    def top_k(self, user: str, k: int = 50) -> TopK:
        """The user's list: at most `k` items he does not have, did not dislike and can get.

        Policy "blend"; for a user without interactions "interests" where he declared some that
        items have, else "popular"; "popular" too for one who does not want to be personalised.
        """
        found = self._find(user)
        return lists.user_lists(self._shared, found[0], [user], k)[0] if found else self.popular(k)

    def top_ks(self, partition: int, users: Sequence[str], k: int = 50) -> list[TopK]:
        """`top_k` of users of one partition."""
        return lists.user_lists(self._shared, self._partition(partition), users, k)

    def popular(self, k: int = 50) -> TopK:
        """The list of somebody unknown: the blend of the popularities."""
        return lists.popular_list(self._shared, k)

    def similar(self, item: str, k: int = 20) -> TopK:
        """Available items that users took near this one; empty where nothing is known."""
        return lists.similar_list(self._shared, item, k)

    def put_item(self, item: str, topics: Sequence[str], available: bool) -> None:
        """Tell what an item is about and whether lists may show it."""
        self._shared.put_item(item, topics, available)

    def withdraw_item(self, item: str) -> None:
        """No list shows it until it is put again, also where nobody here has taken it yet."""
        self._shared.withdraw_item(item)

    def put_content(self, items: content_items.ItemContent, listed: bool = True) -> None:
        """Tell what items say about themselves; `listed`: lists may show those nobody took yet."""
        self.content.put(items, listed)

    def put_profile(
        self, partition: int, user: str, interests: Sequence[str], personalise: bool
    ) -> None:
        """Keep a user's declared interests and his wish to be personalised or not."""
        part = self._partition(partition)
        if part.users.find(user) < 0 and self.users >= self.config.max_users:
            self._drop_silent_users()
        slot = part.add_user(user, self._newest)
        part.personalise[slot] = personalise
        part.set_interests(slot, interests)

    def has(self, user: str, item: str) -> bool:
        """Whether the user did anything with the item."""
        found = self._find(user)
        return found is not None and lists.has(*found, self._shared.items.find(item))

    def personalised(self, partition: int, users: Sequence[str]) -> list[bool]:
        """Whether users of one partition may be personalised (True for one we do not know)."""
        part = self._partition(partition)
        slots = part.users.found(users)
        return list(((slots < 0) | (part.personalise[slots] > 0)).tolist())

    def warm_start(self, factors: warm_start.ItemFactors) -> int:
        """Start the embeddings of items that are hardly known; returns how many.

        Raises:
            ValueError: the widths differ, or a value is not finite.
        """
        started = warm_start.take_over(self._shared, factors)
        if self.exchange is not None:  # every worker does this: nobody sends it to the others
            self.exchange.factors.begin(started, factors.forget == "first")
        return len(started)

    def forget_user(self, partition: int, user: str) -> None:
        """Delete history and profile, and take all they added out of the item statistics.

        The factors keep what they learned; the interactions they still replay are deleted.
        """
        if (part := self._partitions.get(partition)) and part.users.find(user) >= 0:
            self._take_out(part, [user])

    def partition_state(self, partition: int) -> state.Arrays:
        """Copies of a partition's users and histories, whole."""
        shared = self._shared
        return state.partition_arrays(self._partition(partition), shared.items, shared.model.clock)

    def partition_changes(self, partition: int) -> state.Arrays:
        """Copies of what changed in a partition since the last call (see `online.changes`)."""
        shared = self._shared
        return state.partition_changes(self._partition(partition), shared.items, shared.model.clock)

    def load_partition(self, partition: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over a partition; its histories are added to the item statistics.

        Raises:
            TornError: others' increments of the partition do not match it (see `Exchange.rebuild`).
        """
        finish(self.loading(partition, arrays))

    def loading(
        self,
        partition: int,
        arrays: Mapping[str, npt.NDArray[Any]],
        first_change: list[state.Arrays] | None = None,
    ) -> Steps:
        """`load_partition` in steps; other partitions may learn meanwhile.

        Args:
            first_change: receives the whole partition; `partition_changes` then goes on from it.
        """
        yield from moving.loading(self._held(), partition, arrays, first_change)
        part = self._partitions.get(partition)
        if part is not None and part.users.size:
            self._newest = max(self._newest, float(part.last_active[: part.users.size].max()))

    def load_others(self, arrays: Mapping[str, npt.NDArray[Any]]) -> int:
        """Add another's partition to the statistics; returns where its journal is."""
        return moving.load_others(self._shared, arrays)

    def drop_partition(self, partition: int) -> None:
        """Let a partition go, and what it contributed to the item statistics.

        Where deltas are exchanged the contribution stays: the next owner's.
        """
        finish(self.dropping(partition))

    def dropping(self, partition: int) -> Steps:
        """`drop_partition` in steps."""
        return moving.dropping(self._held(), partition)

    def _held(self) -> moving.Held:
        return moving.Held(self._shared, self._partitions, self.exchange)

    def shared_state(self) -> state.Arrays:
        """Copies of what belongs to no partition: factors, recent interactions, blend."""
        arrays: state.Arrays = {}
        finish(self.sharing(arrays))
        return arrays

    def sharing(self, arrays: state.Arrays) -> Steps:
        """`shared_state` in steps; what is learned meanwhile may be in it or not."""
        return moving.sharing(self._held(), arrays)

    def load_shared(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over a shared state.

        Raises:
            ValueError: it was made with other sizes.
        """
        slots = self._shared.slots_of(arrays)  # may make room, and with it another model
        state.load_shared_arrays(self._shared.model, arrays, slots)
        self._shared.moved = True
        if self.exchange is not None:
            self.exchange.factors.restart()

    def events_learned(self, partition: int | None = None) -> int:
        """Interactions learned, summed from the additive counts (negative comments included)."""
        return sum(p.events() for n, p in self._partitions.items() if partition in {None, n})

    def _partition(self, partition: int) -> Partition:
        part = self._partitions.get(partition)
        if part is None:
            part = self._partitions[partition] = Partition(self._shared.room)
            if self.exchange is not None:
                part.journal = self.exchange.journal(partition)
        part.reserve_items(self._shared.room)
        return part

    def _find(self, user: str) -> tuple[Partition, int] | None:
        for part in self._partitions.values():
            if (slot := part.users.find(user)) >= 0:
                return part, slot
        return None

    def _take_out(self, part: Partition, users: Sequence[str]) -> None:
        slots = np.array([part.users.find(user) for user in users], dtype=np.int64)
        self._shared.take_out(part, slots)
        self._shared.forget_recent(part.hashes[slots])
        for user in users:
            part.remove_user(user)

    def _drop_silent_users(self) -> None:
        """Make room for at least one more user: those silent longest go."""
        leaving = longest_silent(self._partitions, max(1, self.config.max_users // 1000))
        for number, users in leaving.items():
            self._take_out(self._partitions[number], users)
            self.users_dropped += len(users)
