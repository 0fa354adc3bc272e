"""Shared: what all partitions have in common, and arrays that are always large enough.

A kernel that lacks room stops and says so; here it gets the room, and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from online import blend, content, deltas, factors, guard, learning, popularity, scoring, shortening
from online import contribution as con
from online import cooccurrence as co
from online import histories as hi
from online.arrays import I32, I64, padded
from online.catalogue import Catalogue
from online.changes import item_names
from online.config import LearnerConfig
from online.content_index import ContentIndex
from online.content_start import ContentStart
from online.crowding import Crowding
from online.held import Held, hold
from online.ids import Ids
from online.interests import Interests
from online.partition import REFUSED, SHORTENED, Partition
from online.steps import Steps, finish

FIRST_ROOM = 1024
PAIRS_AT_ONCE = 100_000  # some 2 to 5 ms


class Shared:
    """Item slots, the catalogue, and the model that every partition's users add to.

    Attributes:
        items: slots of the items.
        catalogue: availability and topics of the items; content: what is near to what;
            start: first factors of new items; interests: which items are what users declared.
        model: the arrays that the kernels work on; another tuple whenever something has grown.
        held: the same as one object.
        moved: partitions came or went since the recent interactions were looked through.
        items_refused: how often an item found no slot because max_items was reached.
        crowding: which items of a state that is loaded may have one.
        on_new_items: called when items may have been added, before anything is learned from them.
        on_started: called when rows of "e_in" or "e_out" have other first values.
    """

    def __init__(self, config: LearnerConfig) -> None:
        self.config = config
        self.items = Ids()
        self.items_refused = 0
        self.crowding = Crowding(self)
        self._withdrawn: set[str] = set()  # of those without a slot
        self.moved = False
        self.on_new_items: Callable[[], None] | None = None
        self.on_started: Callable[[str, I64], None] | None = None
        self.catalogue = Catalogue(FIRST_ROOM)
        self.content = ContentIndex(FIRST_ROOM, config.compared)
        self.start = ContentStart(self)
        self.interests = Interests()
        self.model = learning.Model(
            self.catalogue.available,
            co.new_pairs(FIRST_ROOM),
            popularity.new_popularity(FIRST_ROOM),
            factors.new_factors(
                FIRST_ROOM, config.factors, config.negatives, config.recent, config.seed
            ),
            blend.new_blend(),
            guard.new_guard(blend.BUCKETS, len(scoring.FEATURES)),
            content.new_content(FIRST_ROOM, blend.BUCKETS),
            scoring.new_scratch(FIRST_ROOM),
            np.array([config.factor_rate, config.blend_rate]),
            np.array([config.scan_up_to, *(c in config.components for c in ("factors", "blend"))]),
            np.zeros(1, np.int64),
        )

    @property
    def model(self) -> learning.Model:
        return self._model

    @model.setter
    def model(self, model: learning.Model) -> None:
        self._model = model
        self._held: Held | None = None  # made when it is asked for: several things grow at a time

    @property
    def held(self) -> Held:
        if self._held is None:
            self._held = hold(self._model)
        return self._held

    @property
    def room(self) -> int:
        """Items that the arrays have room for."""
        return len(self.catalogue.available)

    @property
    def scanned(self) -> int:
        """Items that a scan goes over: all there are, to the next full lane."""
        return padded(self.items.size)

    def intern(self, item: str) -> int:
        """The item's slot, a new one where it is unknown, -1 where it is refused."""
        slot = self.items.find(item)
        if slot >= 0:
            return slot
        if self.items.size >= self.config.max_items:
            self.items_refused += 1
            return -1
        slot = self.items.add(item)
        if item in self._withdrawn:  # somebody has an old link to it
            self.put_item(item, (), False)
        return slot

    def put_item(self, item: str, topics: Sequence[str], available: bool) -> None:
        """What an item is about, and whether lists may show it."""
        if not available and self.crowding.crowded() and self.items.find(item) < 0:
            self.withdraw_item(item)
            return
        self._withdrawn.discard(item)
        slot = self.intern(item)
        if slot >= 0:
            self.reserve_items()
            self.catalogue.put(slot, topics, available)

    def withdraw_item(self, item: str) -> None:
        """Lists may not show it; one that is unknown gets no slot before somebody has it."""
        if self.items.find(item) >= 0:
            self.put_item(item, (), False)
        elif len(self._withdrawn) < self.config.max_items:
            self._withdrawn.add(item)

    def withheld(self, item: str) -> bool:
        """Whether it is withdrawn and has no slot."""
        return item in self._withdrawn

    def intern_many(self, items: Sequence[str]) -> I32:
        """The items' slots, as `intern` gives them, with room for all; int32[n]."""
        slots = self.items.found(items)
        for at in np.flatnonzero(slots < 0).tolist():
            slots[at] = self.intern(items[at])
        self.reserve_items()
        return slots.astype(np.int32)

    def slots_of(self, arrays: Mapping[str, npt.NDArray[Any]]) -> I64:
        """Slots here of a state's item table, -1 for those refused or left out (`crowding`)."""
        names = item_names(arrays)
        slots = self.items.found(names)
        for at in self.crowding.admitted(arrays, names, np.flatnonzero(slots < 0)).tolist():
            slots[at] = self.intern(names[at])
        self.reserve_items()
        return slots

    def reserve_items(self) -> None:
        """Room for every item that has a slot."""
        if self.items.size > self.room:
            self._grow()
        if self.on_new_items is not None:
            self.on_new_items()

    def _grow(self) -> None:
        room = padded(max(self.items.size, 2 * self.room))
        self.catalogue.reserve(room)
        self.content.reserve(room)
        m = self.model
        self.model = m._replace(
            available=self.catalogue.available,
            pairs=co.with_items(m.pairs, room, self.config.max_pairs),
            popularity=popularity.with_items(m.popularity, room),
            factors=factors.with_items(m.factors, room, self.config.seed),
            content=content.with_items(m.content, room),
            scratch=scoring.with_items(m.scratch, room),
        )

    def learn(self, part: Partition, events: learning.Events) -> None:
        """Rank and learn interactions of one partition; the ranks are written into `events`."""
        part.reserve_items(self.room)
        at, longest = 0, self.config.max_history
        while at < len(events.users):
            # The journal reads from the ring of recent interactions: no more than it holds at once.
            some = events.between(0, at + self.config.recent)
            done, clock = at, int(self.model.clock[0])
            at = learning.learn_events(
                self.scanned, self.held, part.histories, part.counts, longest, some, at
            )
            if part.journal is not None:
                learned = some.between(done, at)
                part.journal.kept.add(deltas.just_learned(self.model, learned, clock))
            if at < len(some.users):
                self._make_room(part, int(events.users[at]))
        part.departed[REFUSED] += int(np.count_nonzero(events.items < 0))

    def replay(self, h: hi.Histories, users: I64, sign: int) -> None:
        """Add (sign 1) or take out (-1) all that the users' histories add to the statistics."""
        finish(self.replaying(h, users, sign))

    def replaying(self, h: hi.Histories, users: I64, sign: int) -> Steps:
        """`replay` in steps; the histories must not change meanwhile."""
        for some in con.portions(h, users):
            made: list[con.Contribution] = []
            yield partial(_sum_up, h, some, self.room, int(self.model.clock[0]), made)
            yield from self.adding(made.pop(), sign)

    def adding(self, contribution: con.Contribution, sign: int) -> Steps:
        """Add a contribution, or take it out, in steps of a few milliseconds."""
        at = np.zeros(2, np.int64)
        while at[0] < len(contribution.rows):
            if con.add_rows(self.model.pairs, contribution, sign, at, PAIRS_AT_ONCE):
                yield None
            else:
                self._make_room_for_pairs()
        now = int(self.model.clock[0])
        con.add_popularity(self.model.popularity, contribution, sign, now)
        popularity.settle(self.model.popularity)

    def take_out(self, part: Partition, users: I64) -> None:
        """Take users' histories out of the statistics, and tell the others."""
        self._replay_and_tell(part, part.histories, users, -1)

    def _replay_and_tell(self, part: Partition, h: hi.Histories, users: I64, sign: int) -> None:
        if part.journal is not None:
            part.journal.kept.add(deltas.of_histories(self.model, h, users, sign))
        self.replay(h, users, sign)

    def add_increments(self, increments: deltas.Increments, sign: int) -> None:
        """Add (sign 1) or take out (-1) increments of other learners' users."""
        at = 0
        while (at := deltas.add(self.model, increments, at, sign)) < increments.size:
            self._make_room_for_pairs()
        if sign < 0:
            popularity.settle(self.model.popularity)

    def clear_statistics(self) -> None:
        """All that histories added is gone; what they still hold can be replayed."""
        p = self.model.pairs
        self.model = self.model._replace(
            pairs=co.new_pairs(self.room, len(p.cells) // co.WORDS, len(p.dense)),
            popularity=popularity.new_popularity(self.room),
        )

    def forget_recent(self, hashes: I64) -> None:
        """Delete what users did from the interactions that are replayed and drawn from."""
        f = self.model.factors
        gone = np.isin(f.recent_user, hashes)
        f.recent[gone] = -1
        f.recent_context[gone] = -1
        f.recent_user[gone] = 0

    def _make_room(self, part: Partition, user: int) -> None:
        """Whatever stopped a kernel at an interaction of this user, mend it."""
        h = part.histories
        if h.length[user] >= self.config.max_history:
            self._shorten(part, user)
            return
        if not hi.has_room(h, user):
            part.histories = hi.with_chunks(h, 2 * len(h.before))
        self._make_room_for_pairs()

    def _make_room_for_pairs(self) -> None:
        c = self.config
        least = c.max_items << co.LEAST_CLASS
        pairs = co.with_room(self.model.pairs, c.max_pairs, least)
        self.model = self.model._replace(pairs=pairs)

    def _shorten(self, part: Partition, user: int) -> None:
        """Cut the oldest quarter of a history, and what it added."""
        h, longest, only = part.histories, self.config.max_history, np.zeros(1, np.int64)
        changed = shortening.reach(h, user, longest)
        self._replay_and_tell(part, shortening.beginning(h, user, changed), only, -1)
        gone = shortening.cut(h, user, longest, part.counts)
        part.departed[SHORTENED] += gone
        self._replay_and_tell(part, shortening.beginning(h, user, changed - gone), only, 1)


def _sum_up(
    h: hi.Histories, users: I64, items: int, clock: int, made: list[con.Contribution]
) -> None:
    made.append(con.sum_up(h, users, items, clock))
