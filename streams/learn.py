"""learn: clicks, purchases, scored comments and profiles into the learner.

Per chunk: decode, dead-letter what is unusable (awaited), then apply everything between two awaits
so that offsets and state never part. A chunk goes in columns: nothing here loops over events that
can do without.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from streams import topics
from streams.batch_consumer import Batch
from streams.explore import Exploration
from streams.intake import Rejected
from streams.interactions import Arrivals, Decoded, interaction_columns
from streams.partition import PartitionState
from streams.profiles import Profiles
from streams.recommend import Recommend
from streams.river import River

CHUNK = 128
CHUNK_BEHIND = 500  # where the newest event of a batch waits for seconds, nobody waits for ms
BEHIND_SECONDS = 1.0


class Learn:
    """The learn agent's work on the batches of a poll."""

    def __init__(
        self, river: River, recommend: Recommend, exploration: Exploration | None = None
    ) -> None:
        self._river = river
        self._exploration = exploration or Exploration(river)
        self._recommend = recommend
        self._profiles = Profiles(river, recommend)
        self._each = river.components.lists == "each"

    async def handle(self, batches: Sequence[Batch]) -> None:
        """Take batches of any of the user-keyed topics, then let their users' lists be written."""
        taken, lag = 0, math.inf
        for batch in batches:
            state = await self._river.partition(batch)
            if state is None:
                continue
            size = self._chunk_size(batch)
            for start in range(0, len(batch.offsets), size):
                chunk = batch.part(start, start + size)
                if taken and taken + len(chunk.offsets) > size:
                    await self._breathe(lag)
                    taken, lag = 0, math.inf
                if not self._river.owns(state) or not await self._take(chunk, state):
                    break
                taken, lag = taken + len(chunk.offsets), min(lag, _lag(chunk))
        if taken:
            await self._breathe(lag)

    async def _take(self, chunk: Batch, state: PartitionState) -> bool:
        """Take it in; False where the partition went to another owner meanwhile."""
        decoded, rejected = self._decode(chunk, state)
        await self._river.dead_letter(chunk, rejected)
        if not self._river.owns(state):
            return False
        if chunk.topic == topics.USERS:
            for index, profile in zip(*decoded, strict=True):
                at = chunk.offsets[index], chunk.timestamps_ms[index]
                await self._profiles.take(profile, state, *at)
        else:
            self._interactions(chunk, decoded, state, _lag(chunk))
        last = chunk.offsets[-1]
        state.offsets[chunk.topic] = max(last, state.offsets.get(chunk.topic, -1))
        return True

    async def _breathe(self, lag_seconds: float) -> None:
        """Others have their turn."""
        await self._recommend.wake(lag_seconds)
        await asyncio.sleep(0)

    def _chunk_size(self, batch: Batch) -> int:
        if self._each:
            return 1
        behind = time.time() - batch.timestamps_ms[-1] / 1000 > BEHIND_SECONDS
        return CHUNK_BEHIND if behind else CHUNK

    def _decode(self, batch: Batch, state: PartitionState) -> tuple[Decoded, list[tuple[int, str]]]:
        """What can be used, and (index, reason) of the rest."""
        if state.is_new(batch.topic, batch.offsets[0]):
            messages = self._river.intake.read_all(batch.topic, batch.values)
            if messages is not None and self._admits_all(messages):
                return Decoded(range(len(messages)), messages), []
        indices: list[int] = []
        usable: list[Any] = []
        rejected: list[tuple[int, str]] = []
        for index, offset in enumerate(batch.offsets):
            if not state.is_new(batch.topic, offset):
                continue
            if batch.values[index] is None and batch.topic == topics.USERS:
                continue  # an erased profile's tombstone
            message = self._river.intake.read(batch.topic, batch.values[index])
            if isinstance(message, Rejected):
                rejected.append((index, message.reason))
            elif not self._river.admits(message.tenant):
                rejected.append((index, "too many tenants on this worker"))
            else:
                indices.append(index)
                usable.append(message)
        return Decoded(indices, usable), rejected

    def _admits_all(self, messages: list[Any]) -> bool:
        return all(self._river.admits(tenant) for tenant in {one.tenant for one in messages})

    def _interactions(
        self, batch: Batch, decoded: Decoded, state: PartitionState, lag_seconds: float
    ) -> None:
        """Synchronous: no await between the first change and the last."""
        if not self._river.components.deduplicate:
            return
        tenants = dict.fromkeys([event.tenant for event in decoded.messages])
        for tenant in tenants:
            own = decoded if len(tenants) == 1 else decoded.of_tenant(tenant)
            arrivals = self._admit(batch, tenant, own, state)
            scored = batch.topic == topics.SCORED_COMMENTS
            arrivals = self._river.erasures.without(arrivals, state, derived=scored)
            if not arrivals.events:
                continue
            state.heard(batch.topic, max(arrivals.times))
            learner = self._river.learner(tenant)
            wanted = learner.personalised(state.partition, arrivals.users)
            if not all(wanted):
                self._ignore(arrivals.chosen([not yes for yes in wanted]), state)
                arrivals = arrivals.chosen(wanted)
            if arrivals.events:
                self._learn(arrivals, state, lag_seconds)

    def _admit(self, batch: Batch, tenant: str, own: Decoded, state: PartitionState) -> Arrivals:
        """Without repeats. A scored comment's repeats were counted where it was scored."""
        if batch.topic == topics.SCORED_COMMENTS:
            keep = [not state.scored_before(event.source_offset) for event in own.messages]
        else:
            hashes = state.hashes.many(tenant, [event.id for event in own.messages])
            if state.seen.add_new(hashes):
                return Arrivals.of(batch, tenant, own)
            keep = [not state.seen_before(hashed) for hashed in hashes]
            state.duplicates += keep.count(False)
            self._river.metrics.duplicates.inc(keep.count(False))
        return Arrivals.of(batch, tenant, own.chosen(keep))

    def _ignore(self, arrivals: Arrivals, state: PartitionState) -> None:
        count = len(arrivals.events)
        state.ignored += count
        self._river.metrics.ignored.inc(count)
        self._archive(arrivals, state.partition, [0] * count, [0] * count)

    def _learn(self, arrivals: Arrivals, state: PartitionState, lag_seconds: float) -> None:
        if self._river.components.learner == "off":
            return
        learned = self._river.learner(arrivals.tenant).learn(
            state.partition,
            arrivals.users,
            arrivals.items,
            np.array(arrivals.kinds(), dtype=np.int8),
            np.array(arrivals.times),
        )
        self._river.metrics.learned.inc(len(arrivals.events))
        if arrivals.topic == topics.PURCHASES:
            ages = self._exploration.ages
            ages.count("purchases", arrivals.tenant, arrivals.items, max(arrivals.times))
        if self._exploration.on:
            self._exploration.taken(arrivals.tenant, arrivals.items, learned.ranks.tolist())
        self._archive(
            arrivals, state.partition, learned.ranks.tolist(), learned.popularity_ranks.tolist()
        )
        self._recommend.enqueue(
            state.partition, arrivals.tenant, arrivals.users, arrivals.received_ms, lag_seconds
        )

    def _archive(
        self,
        arrivals: Arrivals,
        partition: int,
        ranks: Sequence[int],
        popularity_ranks: Sequence[int],
    ) -> None:
        if self._river.components.archive:
            columns = interaction_columns(
                arrivals, self._river.pseudonyms.user_key, ranks, popularity_ranks
            )
            self._river.archive.append_columns("interactions", arrivals.topic, partition, columns)


def _lag(learned: Batch) -> float:
    """Seconds since the newest event's append; 0 at the partition's end.

    Whoever waited for a backlog before him waits no longer than until it is worked off.
    """
    ended = 0 < learned.end <= learned.offsets[-1] + 1
    return 0.0 if ended else time.time() - learned.timestamps_ms[-1] / 1000
