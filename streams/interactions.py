"""Interactions in columns: what the learn agent takes in at once, and the rows it archives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, NamedTuple

from online.learner import Kind
from streams import topics
from streams.batch_consumer import Batch

KIND_OF_LABEL = {"negative": Kind.NEGATIVE, "neutral": Kind.NEUTRAL, "positive": Kind.POSITIVE}
TYPES = {topics.CLICKS: "click", topics.PURCHASES: "purchase", topics.COMMENTS: "comment"}


class Decoded(NamedTuple):
    """What could be read of a batch: where it stands in it, and the messages."""

    indices: Sequence[int]
    messages: list[Any]

    def of_tenant(self, tenant: str) -> Decoded:
        """The tenant's."""
        return self.chosen([message.tenant == tenant for message in self.messages])

    def chosen(self, keep: Sequence[bool]) -> Decoded:
        """Those marked."""
        if all(keep):
            return self
        return Decoded(list(compress(self.indices, keep)), list(compress(self.messages, keep)))


class Arrivals(NamedTuple):
    """Decoded interactions of one tenant and topic, and where they stand in Kafka.

    Attributes:
        topic: where they came in first: a scored comment's is that of its comment, and so is its
            offset.
        times: event times, epoch seconds; received_ms: append times.
    """

    topic: str
    tenant: str
    events: list[Any]
    users: list[str]
    items: list[str]
    times: list[float]
    offsets: list[int]
    received_ms: list[int]

    @classmethod
    def of(cls, batch: Batch, tenant: str, decoded: Decoded) -> Arrivals:
        """Columns of these."""
        indices, events = decoded
        whole = len(indices) == len(batch.offsets)
        scored = batch.topic == topics.SCORED_COMMENTS
        offsets = batch.offsets if whole else [batch.offsets[index] for index in indices]
        received = batch.timestamps_ms
        return cls(
            topics.COMMENTS if scored else batch.topic,
            tenant,
            events,
            [event.user_id for event in events],
            [event.item_id for event in events],
            [event.occurred_at.timestamp() for event in events],
            [event.source_offset for event in events] if scored else offsets,
            received if whole else [received[index] for index in indices],
        )

    def chosen(self, keep: Sequence[bool]) -> Arrivals:
        """Those marked."""
        return Arrivals(self.topic, self.tenant, *(list(compress(each, keep)) for each in self[2:]))

    def kinds(self) -> list[Kind]:
        """How the learner takes them (design: a comment as feedback)."""
        if self.topic == topics.COMMENTS:
            return [KIND_OF_LABEL[event.label] for event in self.events]
        kind = Kind.PURCHASE if self.topic == topics.PURCHASES else Kind.CLICK
        return [kind] * len(self.events)


def interaction_columns(
    arrivals: Arrivals,
    user_key: Callable[[str, str], str],
    ranks: Sequence[int],
    popularity_ranks: Sequence[int],
) -> dict[str, Sequence[Any]]:
    """The columns of `interactions` in the warehouse.

    Args:
        user_key: tenant and user → pseudonym.
        ranks, popularity_ranks: as the learner gave them, 0 where it did not learn.
    """
    count, events = len(arrivals.events), arrivals.events
    purchases = arrivals.topic == topics.PURCHASES
    return {
        "tenant": [arrivals.tenant] * count,
        "id": [event.id for event in events],
        "type": [TYPES[arrivals.topic]] * count,
        "user_key": [user_key(arrivals.tenant, user) for user in arrivals.users],
        "item_id": arrivals.items,
        "occurred_at": [round(at * 1000) for at in arrivals.times],
        "received_at": arrivals.received_ms,
        "surface": [event.surface or "" for event in events],
        "price": [event.price for event in events] if purchases else [0.0] * count,
        "currency": [event.currency for event in events] if purchases else [""] * count,
        "quantity": [event.quantity for event in events] if purchases else [0] * count,
        "kind": [int(kind) for kind in arrivals.kinds()],
        "rank": ranks,
        "popularity_rank": popularity_ranks,
        "offset": arrivals.offsets,
    }
