"""What came of the events of a chaos run, counted by nobody who had a part in it.

The sender's list of acknowledged ids is held against ClickHouse, against the final checkpoint as a
fresh process reads it, and against Redis and alerts.v1. The worker's metrics are not asked.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Any

import msgspec
from msgspec import Struct
from redis import Redis

from infra.serving_lists import decode_list, list_key
from infra.warehouse import Warehouse
from streams import topics, whole_topic
from streams.demo_books import count_dead_letters, final_checkpoint
from streams.demo_parts import Parts
from streams.events import Alert
from streams.sender import Outbound, Sender

COMMENT = "comment"
READ_AT_ONCE = 1_000
RECENT = 20


class Sent(Struct):
    """What was acknowledged.

    Attributes:
        kinds: id → kind of every interaction.
        recent: (tenant, user) → the items that he took last, at most 20.
        shy: users who want no personal list.
    """

    kinds: dict[str, str] = msgspec.field(default_factory=dict)
    recent: dict[tuple[str, str], deque[str]] = msgspec.field(default_factory=dict)
    shy: set[tuple[str, str]] = msgspec.field(default_factory=set)


class _Fields(Struct):
    id: str = ""
    type: str = ""
    user_id: str = ""
    item_id: str = ""
    personalise: bool = True


class Recorder(Sender):
    """A sender that remembers what was acknowledged, not only how much."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sent = Sent()
        self._decode = msgspec.json.Decoder(_Fields).decode

    def _answered(self, outbound: Outbound, future: asyncio.Future[Any]) -> None:
        super()._answered(outbound, future)
        if future.cancelled() or future.exception() is not None:
            return
        fields = self._decode(outbound.value) if outbound.key else _Fields()
        if outbound.is_interaction:
            self.sent.kinds[fields.id] = fields.type
            user = outbound.tenant, outbound.user
            self.sent.recent.setdefault(user, deque(maxlen=RECENT)).append(fields.item_id)
        elif outbound.topic == topics.USERS and not fields.personalise:
            tenant = outbound.key.decode().partition("/")[0]
            self.sent.shy.add((tenant, fields.user_id))


class Verdict(Struct, frozen=True):
    """Counts; all but `events` and `alerts` should be 0.

    Attributes:
        lost: acknowledged events without an effect: the largest of the shortfalls in learning (by
            the checkpoint), in the archive and, of comments, in their scores.
        doubled: effects beyond one an event, likewise.
        stale: users whose list is missing, or holds one of their last 20 items: a list is made
            without them, so it would be older than the event.
        alerts: incidents on alerts.v1; alerts_doubled: alarms told there more than once.
    """

    events: int
    lost: int
    doubled: int
    stale: int
    dead_lettered: int
    alerts: int
    alerts_doubled: int

    @property
    def harms(self) -> bool:
        """Whether anything is not as it should be."""
        return any((self.lost, self.doubled, self.stale, self.dead_lettered, self.alerts_doubled))


def verdict(parts: Parts, sender: Recorder) -> Verdict:
    """Look at everything that is in a checkpoint, in ClickHouse, in Redis and on Kafka."""
    kinds = sender.sent.kinds
    kept = final_checkpoint(parts)
    warehouse = Warehouse(parts.stack.clickhouse_url)
    try:
        archived = _counts(warehouse, "interactions")
        scored = _counts(warehouse, "scored_comments")
    finally:
        warehouse.close()
    comments = {one for one, kind in kinds.items() if kind == COMMENT}
    learned = kept["events_learned"] + kept["ignored"]
    dead = asyncio.run(count_dead_letters(parts.stack.kafka_url, sender.acknowledged))
    raised = asyncio.run(_raised(parts.stack.kafka_url))
    return Verdict(
        events=len(kinds),
        lost=max(
            len(kinds) - learned - dead,
            len(kinds.keys() - archived.keys()) - dead,
            len(comments - scored.keys()),
            0,
        ),
        doubled=max(learned - len(kinds), _beyond_one(archived), _beyond_one(scored), 0),
        stale=_stale(parts.stack.redis_url, sender.sent),
        dead_lettered=dead,
        alerts=len({fingerprint for fingerprint, _ in raised}),
        alerts_doubled=_beyond_one(raised),
    )


def _counts(warehouse: Warehouse, table: str) -> Counter[str]:
    rows = warehouse.query(f"SELECT id, count() AS n FROM {table} GROUP BY id")
    return Counter({row["id"]: row["n"] for row in rows})


def _beyond_one(counts: Counter[Any]) -> int:
    return sum(count - 1 for count in counts.values())


def _stale(redis_url: str, sent: Sent) -> int:
    client = Redis.from_url(redis_url)
    users = [user for user in sent.recent if user not in sent.shy]
    stale = 0
    for start in range(0, len(users), READ_AT_ONCE):
        some = users[start : start + READ_AT_ONCE]
        stored: Any = client.mget([list_key(*user) for user in some])
        for user, value in zip(some, stored, strict=True):
            found = decode_list(value)
            stale += found is None or not set(sent.recent[user]).isdisjoint(found.items)
    client.close()
    return stale


async def _raised(kafka_url: str) -> Counter[tuple[str, float]]:
    """How often each alarm was raised; one whose evidence has grown is raised again."""
    raised: Counter[tuple[str, float]] = Counter()
    async for record in whole_topic.read(kafka_url, topics.ALERTS, "springtide-chaos"):
        alert = msgspec.json.decode(record.value, type=Alert)
        if alert.state == "firing":
            raised[alert.fingerprint, alert.evidence] += 1
    return raised
