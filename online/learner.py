"""The learner of one tenant: interactions in, top-K lists out.

`learn` ranks every interaction before it learns from it, so that quality is measured on the live
stream; `top_k` makes the same list that was measured. State is arrays, work is numba kernels; this
module joins them and keeps them large enough.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from online import blend as bl
from online import cooccurrence as co
from online import factors as fa
from online import histories as hi
from online import learning, state
from online import popularity as po
from online import scoring as sc
from online.arrays import F32, F64, I8, I32, I64, padded
from online.catalogue import Catalogue
from online.ids import Ids
from online.partition import REFUSED, SHORTENED, Partition
from online.state import events_in, items_in, users_in
from online.topk import TopK, no_items

__all__ = [
    "MISS", "Kind", "Learned", "Learner", "LearnerConfig", "TopK", "events_in", "items_in",
    "users_in",
]  # fmt: skip

MISS = bl.MISS
INTERESTS_LAST = 20  # interactions after which declared interests no longer count
INTERESTS_FADE = 0.7
NO_BONUS: F32 = np.zeros(0, np.float32)


class Kind(enum.IntEnum):
    """What happened; the last three are comments, by their sentiment."""

    CLICK = 0
    PURCHASE = 1
    POSITIVE = 2
    NEUTRAL = 3
    NEGATIVE = 4


class LearnerConfig(msgspec.Struct, frozen=True):
    """Sizes and rates. The rates are one setting for every data set.

    Attributes:
        factors: d, width of the embeddings.
        negatives: sampled per step.
        max_history: interactions kept of a user; beyond it the oldest quarter leaves history and
            statistics, dislikes excepted.
        max_users: beyond it those silent longest are dropped, with their statistics.
        max_items: beyond it new items are refused and counted.
        max_pairs: pair entries (12 bytes each); beyond it new pairs are refused and counted.
        recent: interactions that negatives and replays are drawn from.
    """

    factors: int = 64
    negatives: int = 64
    max_history: int = 4096
    seed: int = 0
    max_users: int = 1_000_000
    max_items: int = 100_000
    max_pairs: int = 40_000_000
    recent: int = 65_536
    factor_rate: float = 0.1
    blend_rate: float = 0.005


class Learned(NamedTuple):
    """Prequential ranks, each taken before the interaction was learned.

    Attributes:
        ranks: int32[n], 1-based, among the known and available items that the user does not have,
            ties against us; 0: not evaluated (he has the item, or a negative comment); MISS: the
            item was never seen, is unavailable, or its score is not finite.
        popularity_ranks: int32[n], the same by plain popularity.
    """

    ranks: I32
    popularity_ranks: I32


class Learner:
    """Learns interactions in order and lists the best items of a user at any time."""

    def __init__(self, config: LearnerConfig = LearnerConfig()) -> None:  # noqa: B008 (frozen)
        self.config = config
        self.items_refused = 0
        self.users_dropped = 0
        self._items = Ids()
        self._partitions: dict[int, Partition] = {}
        self._newest = 0.0
        room = 1024
        self._catalogue = Catalogue(room)
        self._nobody = hi.new_histories(1, 8)
        self._model = learning.Model(
            self._catalogue.available,
            co.new_pairs(room),
            po.new_popularity(room),
            fa.new_factors(room, config.factors, config.negatives, config.recent, config.seed),
            bl.new_blend(),
            sc.new_scratch(room),
            np.array([config.factor_rate, config.blend_rate]),
            np.zeros(1, np.int64),
        )

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
            partition: the users' partition.
            users: user ids; items: item ids.
            kinds: int8[n], see Kind.
            times: float64[n], event times in epoch seconds; decide who is silent longest.
        """
        part = self._partition(partition)
        n = len(users)
        events = learning.Events(
            np.zeros(n, np.int32),
            np.array([self._intern(item) for item in items], dtype=np.int32),
            np.asarray(kinds, np.int8),
            np.zeros(n, np.int64),
            np.zeros(n, np.int32),
            np.zeros(n, np.int32),
        )
        self._reserve_items()
        start = 0
        for at, (user, time) in enumerate(zip(users, np.asarray(times).tolist(), strict=True)):
            slot = part.users.find(user)
            if slot < 0:
                if self.users >= self.config.max_users:
                    self._learn_events(part, events, start, at)
                    start = at
                    self._drop_silent_users()
                slot = part.add_user(user, time)
            part.last_active[slot] = max(part.last_active[slot], time)
            self._newest = max(self._newest, time)
            events.users[at] = slot
            events.hashes[at] = part.hashes[slot]
        self._learn_events(part, events, start, n)
        return Learned(events.ranks, events.popularity_ranks)

    @property
    def users(self) -> int:
        """Users held."""
        return sum(len(part.users) for part in self._partitions.values())

    @property
    def items(self) -> int:
        """Items known, from interactions or the catalogue."""
        return len(self._items)

    @property
    def pairs_refused(self) -> int:
        """Pairs not kept because max_pairs is reached."""
        return int(self._model.pairs.state[co.REFUSED])

    def top_k(self, user: str, k: int = 50) -> TopK:
        """The user's list: at most `k` items he does not have, did not dislike and can get.

        Policy "blend"; for a user without interactions "interests" where he declared some that
        items have, else "popular"; "popular" too for one who does not want to be personalised.
        """
        found = self._find(user)
        if found is None or not found[0].personalise[found[1]]:
            return self.popular(k)
        part, slot = found
        length = int(part.histories.length[slot])
        bonus = NO_BONUS
        if length < INTERESTS_LAST:
            weights = self._catalogue.interest_weights(part.interests_of(slot), self._room)
            if weights is not None and length == 0:
                return self._by_interests(weights, k)
            if weights is not None:
                fade = INTERESTS_FADE**length
                bonus = (fade * np.log1p(4 * weights / weights.max())).astype(np.float32)
        return self._list(part.histories, slot, bonus, k, "blend" if length else "popular")

    def popular(self, k: int = 50) -> TopK:
        """The list of somebody unknown: the blend of the popularities."""
        return self._list(self._nobody, 0, NO_BONUS, k, "popular")

    def similar(self, item: str, k: int = 20) -> TopK:
        """Available items that users took near this one; empty where nothing is known."""
        slot = self._items.find(item)
        if slot < 0:
            return no_items("similar")
        items, best = np.zeros(k, np.int32), np.zeros(k, np.float32)
        count = learning.similar_items(padded(self._items.size), self._model, slot, items, best)
        return self._named(items, best, count, "similar")

    def put_item(self, item: str, topics: Sequence[str], available: bool) -> None:
        """Tell what an item is about and whether lists may show it."""
        slot = self._intern(item)
        if slot >= 0:
            self._reserve_items()
            self._catalogue.put(slot, topics, available)

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

    def personalise(self, user: str) -> bool:
        """Whether the user may be personalised (True for one we do not know)."""
        found = self._find(user)
        return found is None or bool(found[0].personalise[found[1]])

    def forget_user(self, partition: int, user: str) -> None:
        """Delete history and profile, and take all they added out of the item statistics.

        The factors keep what they learned; the interactions they still replay are deleted.
        """
        part = self._partitions.get(partition)
        if part is None or part.users.find(user) < 0:
            return
        self._take_out(part, [user])

    def partition_state(self, partition: int) -> state.Arrays:
        """Copies of a partition's users, histories and counts."""
        return state.partition_arrays(
            self._partition(partition), self._items, self._model.clock
        )

    def load_partition(self, partition: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over a partition; its histories are added to the item statistics."""
        self.drop_partition(partition)
        if "clock" not in arrays:  # a tenant without events when the checkpoint was taken
            return
        slots = self._slots_of(arrays)
        behind = int(arrays["clock"][0] - self._model.clock[0])
        if behind > 0:
            po.pass_ticks(self._model.popularity, behind)
            self._model.clock[0] += behind
        part = state.partition_from(arrays, slots, self._room)
        self._partitions[partition] = part
        if part.users.size:
            self._newest = max(self._newest, float(part.last_active[: part.users.size].max()))
        self._replay(part, np.arange(part.users.size, dtype=np.int32), 1)

    def drop_partition(self, partition: int) -> None:
        """Let a partition go, and what it contributed to the item statistics."""
        part = self._partitions.pop(partition, None)
        if part is not None:
            self._replay(part, np.arange(part.users.size, dtype=np.int32), -1)

    def shared_state(self) -> state.Arrays:
        """Copies of what belongs to no partition: factors, recent interactions, blend."""
        return state.shared_arrays(self._model, self._items)

    def load_shared(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over a shared state.

        Raises:
            ValueError: it was made with other sizes.
        """
        slots = self._slots_of(arrays)  # may make room, and with it another self._model
        state.load_shared_arrays(self._model, arrays, slots)

    def events_learned(self, partition: int | None = None) -> int:
        """Interactions learned, summed from the additive counts (negative comments included)."""
        if partition is None:
            return sum(part.events() for part in self._partitions.values())
        part = self._partitions.get(partition)
        return part.events() if part is not None else 0

    # Below: keeping the arrays large enough, and the way between ids and slots.

    @property
    def _room(self) -> int:
        return len(self._catalogue.available)

    def _partition(self, partition: int) -> Partition:
        part = self._partitions.get(partition)
        if part is None:
            part = self._partitions[partition] = Partition(self._room)
        return part

    def _find(self, user: str) -> tuple[Partition, int] | None:
        for part in self._partitions.values():
            slot = part.users.find(user)
            if slot >= 0:
                return part, slot
        return None

    def _intern(self, item: str) -> int:
        slot = self._items.find(item)
        if slot >= 0:
            return slot
        if self._items.size >= self.config.max_items:
            self.items_refused += 1
            return -1
        return self._items.add(item)

    def _slots_of(self, arrays: Mapping[str, npt.NDArray[Any]]) -> I64:
        """Slots here of a state's item table, -1 for those refused."""
        names = Ids.names_in(arrays, "items")
        slots = np.array([self._intern(name or "") for name in names], dtype=np.int64)
        self._reserve_items()
        return slots

    def _reserve_items(self) -> None:
        if self._items.size <= self._room:
            return
        room = padded(max(self._items.size, 2 * self._room))
        self._catalogue.reserve(room)
        for part in self._partitions.values():
            part.reserve_items(room)
        m = self._model
        self._model = m._replace(
            available=self._catalogue.available,
            pairs=co.with_items(m.pairs, room),
            popularity=po.with_items(m.popularity, room),
            factors=fa.with_items(m.factors, room, self.config.seed),
            scratch=sc.with_items(m.scratch, room),
        )

    def _learn_events(self, part: Partition, events: learning.Events, start: int, end: int) -> None:
        chunk = learning.Events(*(array[start:end] for array in events))
        at, n = 0, padded(self._items.size)
        longest = self.config.max_history
        while at < len(chunk.users):
            at = learning.learn_events(
                n, self._model, part.histories, part.counts, longest, chunk, at
            )
            if at < len(chunk.users):
                self._make_room(part, int(chunk.users[at]), int(chunk.items[at]))
        part.departed[REFUSED] += int(np.count_nonzero(chunk.items < 0))

    def _make_room(self, part: Partition, user: int, item: int) -> None:
        """Whatever stopped a kernel at this interaction, mend it."""
        h = part.histories
        if h.length[user] >= self.config.max_history:
            self._shorten(part, user)
            return
        if h.top[0] + hi.room_needed(h, user) > len(h.items):
            part.histories = hi.with_entries(h, 2 * len(h.items))
        self._make_room_for_pairs(item)

    def _make_room_for_pairs(self, item: int) -> None:
        p = self._model.pairs
        most = int(p.size.max())
        cells = int(p.state[co.TOP]) + (co.NEIGHBOURS + 2) * 2 * max(most, 64)
        if cells > len(p.cells) // co.WORDS:
            if len(p.cells) // co.WORDS >= self.config.max_pairs:
                p.state[co.CLOSED] = 1
            p = co.with_cells(p, max(cells, len(p.cells) // co.WORDS * 3 // 2))
        rows = int(p.state[co.ROWS]) + co.NEIGHBOURS + 1
        if rows > len(p.dense):
            p = co.with_rows(p, max(rows, len(p.dense) * 3 // 2))
        self._model = self._model._replace(pairs=p)

    def _replay(self, part: Partition, users: I32, sign: int) -> None:
        at = np.zeros(2, np.int64)
        while not learning.replay_histories(self._model, part.histories, users, at, sign):
            self._make_room_for_pairs(0)
        if sign < 0:
            po.settle(self._model.popularity)

    def _shorten(self, part: Partition, user: int) -> None:
        """Cut the oldest quarter of a history, and what it added."""
        h, users = part.histories, np.array([user], dtype=np.int32)
        self._replay(part, users, -1)
        keep = learning.mark_kept(h, user, self.config.max_history * 3 // 4)
        start, n = int(h.start[user]), int(h.length[user])
        items, stamps = h.items[start : start + n], h.stamps[start : start + n]
        np.subtract.at(part.counts, (stamps[~keep] & 7, items[~keep]), 1)
        kept = int(keep.sum())
        part.departed[SHORTENED] += n - kept
        items[:kept], stamps[:kept] = items[keep], stamps[keep]
        h.length[user] = kept
        self._replay(part, users, 1)

    def _take_out(self, part: Partition, users: Iterable[str]) -> None:
        slots = np.array([part.users.find(user) for user in users], dtype=np.int32)
        self._replay(part, slots, -1)
        recent = self._model.factors
        gone = np.isin(recent.recent_user, part.hashes[slots])
        recent.recent[gone] = -1
        recent.recent_context[gone] = -1
        recent.recent_user[gone] = 0
        for user in users:
            part.remove_user(user)

    def _drop_silent_users(self) -> None:
        """Make room for at least one more user."""
        count = max(1, self.config.max_users // 1000)
        silent = [
            (active_at, number, user)
            for number, part in self._partitions.items()
            for active_at, user in part.least_active(count)
        ]
        for _, number, user in sorted(silent)[:count]:
            self._take_out(self._partitions[number], [user])
            self.users_dropped += 1

    def _list(self, h: hi.Histories, slot: int, bonus: F32, k: int, policy: str) -> TopK:
        items, best = np.zeros(k, np.int32), np.zeros(k, np.float32)
        n = padded(self._items.size)
        count = learning.list_user(n, self._model, h, slot, bonus, items, best)
        return self._named(items, best, count, policy)

    def _by_interests(self, weights: F32, k: int) -> TopK:
        """Popularity × Σ 1/√df of the declared topics, then the popular ones."""
        p, n = self._model.popularity, self._items.size
        share = p.fading[po.H4000, :n] / p.step[po.H4000]
        wanted = (self._catalogue.available[:n] > 0) & ((weights[:n] > 0) | (p.count[:n] > 0))
        score = weights[:n] * (share + 1e-3) + 1e-6 * share
        score = np.where(wanted, np.log(score + 1e-12), -np.inf)
        order = np.argsort(-score, kind="stable")[:k]
        order = order[score[order] > -np.inf]
        return self._named(order, score[order].astype(np.float32), len(order), "interests")

    def _named(self, slots: npt.NDArray[Any], best: F32, count: int, policy: str) -> TopK:
        names = [self._items.name(int(slot)) for slot in slots[:count]]
        return TopK(names, best[:count], policy)
