"""learn: clicks, purchases, scored comments and profiles into the learner.

Per chunk: decode, dead-letter what is unusable (awaited), then apply everything between two awaits
so that offsets and state never part.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import stamina
from msgspec import Struct

from online.learner import Kind
from streams import topics
from streams.batch_consumer import Batch
from streams.events import Click, Profile, Purchase, ScoredComment
from streams.intake import Rejected
from streams.ledger import event_hash
from streams.partition import PartitionState
from streams.recommend import Recommend
from streams.river import River

CHUNK = 64
KIND_OF_LABEL = {"negative": Kind.NEGATIVE, "neutral": Kind.NEUTRAL, "positive": Kind.POSITIVE}

Learnable = Click | Purchase | ScoredComment


class Arrival(Struct, frozen=True):
    """A decoded event with where it stands in Kafka."""

    event: Learnable
    topic: str
    offset: int
    received_ms: int


def kind_of(event: Learnable) -> Kind:
    """How the learner takes an event (design: a comment as feedback)."""
    if isinstance(event, ScoredComment):
        return KIND_OF_LABEL[event.label]
    return Kind.PURCHASE if isinstance(event, Purchase) else Kind.CLICK


class Learn:
    """The learn agent's work on one batch at a time."""

    def __init__(self, river: River, recommend: Recommend) -> None:
        self._river = river
        self._recommend = recommend

    async def handle(self, batch: Batch) -> None:
        """Take a batch of any of the user-keyed topics."""
        state = await self._river.partition(batch.partition)
        if state is None:
            return
        for start in range(0, len(batch.offsets), CHUNK):
            decoded, rejected = self._decode(batch, range(start, start + CHUNK), state)
            await self._river.dead_letter(batch, rejected)
            if not self._river.owns(state):
                return
            last = batch.offsets[min(start + CHUNK, len(batch.offsets)) - 1]
            if batch.topic == topics.USERS:
                for _, profile in decoded:
                    await self._profile(profile, state)
            else:
                self._interactions(batch, decoded, state)
            state.offsets[batch.topic] = max(last, state.offsets.get(batch.topic, -1))
            await self._recommend.wake()
            await asyncio.sleep(0)

    def _decode(
        self, batch: Batch, indices: range, state: PartitionState
    ) -> tuple[list[tuple[int, Any]], list[tuple[int, str]]]:
        decoded: list[tuple[int, Any]] = []
        rejected: list[tuple[int, str]] = []
        for index in indices[: len(batch.offsets) - indices.start]:
            if not state.is_new(batch.topic, batch.offsets[index]):
                continue
            message = self._river.intake.read(batch.topic, batch.values[index])
            if isinstance(message, Rejected):
                rejected.append((index, message.reason))
            elif not self._river.admits(message.tenant):
                rejected.append((index, "too many tenants on this worker"))
            else:
                decoded.append((index, message))
        return decoded, rejected

    def _interactions(
        self, batch: Batch, decoded: list[tuple[int, Any]], state: PartitionState
    ) -> None:
        """Synchronous: no await between the first change and the last."""
        learned: dict[str, list[Arrival]] = {}
        for index, event in decoded:
            arrival = self._admit(batch, index, event, state)
            if arrival is None:
                continue
            state.heard(batch.topic, event.occurred_at.timestamp())
            if self._river.learner(event.tenant).personalise(event.user_id):
                learned.setdefault(event.tenant, []).append(arrival)
            else:
                state.ignored += 1
                self._river.metrics.ignored.inc()
                self._archive(arrival, state.partition, 0, 0)
        for tenant, arrivals in learned.items():
            self._learn(tenant, arrivals, state)

    def _admit(
        self, batch: Batch, index: int, event: Learnable, state: PartitionState
    ) -> Arrival | None:
        """None for a repeat. A scored comment's repeats were counted where it was scored."""
        received = batch.timestamps_ms[index]
        if isinstance(event, ScoredComment):
            if event.source_offset in state.scored:
                return None
            state.scored.add(event.source_offset)
            return Arrival(event, topics.COMMENTS, event.source_offset, received)
        hashed = event_hash(event.tenant, event.id)
        if hashed in state.seen:
            state.duplicates += 1
            self._river.metrics.duplicates.inc()
            return None
        state.seen.add(hashed)
        return Arrival(event, batch.topic, batch.offsets[index], received)

    def _learn(self, tenant: str, arrivals: list[Arrival], state: PartitionState) -> None:
        learner = self._river.learner(tenant)
        kinds = np.array([kind_of(arrival.event) for arrival in arrivals], dtype=np.int8)
        times = np.array([a.event.occurred_at.timestamp() for a in arrivals], dtype=np.float64)
        learned = learner.learn(
            state.partition,
            [arrival.event.user_id for arrival in arrivals],
            [arrival.event.item_id for arrival in arrivals],
            kinds,
            times,
        )
        self._river.metrics.learned.inc(len(arrivals))
        for i, arrival in enumerate(arrivals):
            self._archive(
                arrival, state.partition, int(learned.ranks[i]), int(learned.popularity_ranks[i])
            )
            self._recommend.enqueue(
                state.partition, tenant, arrival.event.user_id, arrival.received_ms
            )

    def _archive(self, arrival: Arrival, partition: int, rank: int, popularity_rank: int) -> None:
        event = arrival.event
        purchase = event if isinstance(event, Purchase) else None
        row = {
            "tenant": event.tenant,
            "id": event.id,
            "type": "comment" if isinstance(event, ScoredComment) else type(event).__name__.lower(),
            "user_key": self._river.pseudonyms.user_key(event.tenant, event.user_id),
            "item_id": event.item_id,
            "occurred_at": event.occurred_at,
            "received_at": arrival.received_ms,
            "surface": event.surface or "",
            "price": purchase.price if purchase else 0.0,
            "currency": purchase.currency if purchase else "",
            "quantity": purchase.quantity if purchase else 0,
            "kind": int(kind_of(event)),
            "rank": rank,
            "popularity_rank": popularity_rank,
            "topic": arrival.topic,
            "partition": partition,
            "offset": arrival.offset,
        }
        self._river.archive.append("interactions", arrival.topic, partition, row)

    async def _profile(self, profile: Profile, state: PartitionState) -> None:
        """Redis first, so that the API honours an opt-out at once; repeating it is harmless."""
        learner = self._river.learner(profile.tenant)
        await self._show(profile)
        if not self._river.owns(state):
            return
        if profile.deleted:
            learner.forget_user(state.partition, profile.user_id)
            return
        learner.put_profile(
            state.partition, profile.user_id, profile.interests, profile.personalise
        )
        self._recommend.enqueue(state.partition, profile.tenant, profile.user_id, 0)

    async def _show(self, profile: Profile) -> None:
        """Tell Redis, and wait for it where it is away."""
        store = self._river.store
        async for attempt in stamina.retry_context(
            on=store.transient_errors, attempts=None, timeout=None, wait_max=2.0
        ):
            with attempt:
                if profile.deleted:
                    await store.delete_user(profile.tenant, profile.user_id)
                else:
                    await store.write_profile(
                        profile.tenant,
                        profile.user_id,
                        personalise=profile.personalise,
                        interests=profile.interests,
                    )
