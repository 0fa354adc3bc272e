"""The topic catalogue, and `apply`: make what is missing, keep withdrawals, say what differs.

User-keyed topics have one partition count and are assigned together: the worker that owns user
partition p owns it in all of them, and a scored comment keeps the partition of its comment.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from infra.security import kafka_client, kafka_servers
from infra.settings import UserError
from infra.telemetry import get_logger
from streams import deltas_wire, events, vectors_wire

log = get_logger("topics")

DAY_MS = 86_400_000
PARTITIONS = 4

CLICKS = "clicks.v1"
PURCHASES = "purchases.v1"
COMMENTS = "comments.v1"
SCORED_COMMENTS = "scored-comments.v1"
SENTIMENT = "sentiment.v1"
SERVED = "served.v1"
USERS = "users.v1"
ITEMS = "items.v1"
ITEM_VECTORS = "item-vectors.v1"
ITEM_DELTAS, DELTA_HOURS = "item-deltas.v1", 3
ALERTS = "alerts.v1"
DEAD_LETTER = "dead-letter.v1"
ERASURES = "erasures.v1"

# What was compacted away must be gone within a minute of its erasure.
PROFILE_SEGMENT_SECONDS = 10
# Who begins to read later must learn of it, too: histories and lists name the item for long.
WITHDRAWAL_DAYS = 3_650


class TopicSpec(Struct, frozen=True):
    """A topic: who keys it, what it carries, and how long the broker keeps it."""

    name: str
    keyed_by: Literal["user", "item", "one"]
    message: type[Struct]
    purpose: str
    retention_days: float = 7.0
    compacted: bool = False
    erasable: bool = False
    withdrawals: bool = False
    segment_minutes: int = 0
    max_message_bytes: int = events.MAX_EVENT_BYTES + 100_000

    def partitions(self, user_partitions: int) -> int:
        """User-keyed topics share one count; the others need one consumer to see everything."""
        return user_partitions if self.keyed_by == "user" else 1

    def config(self) -> dict[str, str]:
        """Broker settings; append time, so that a replay of old events is not deleted at once."""
        settings = {
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(self.max_message_bytes),
        }
        if self.erasable:
            age = str(PROFILE_SEGMENT_SECONDS * 1000)
            settings |= {
                "segment.ms": age,
                "max.compaction.lag.ms": age,
                "delete.retention.ms": "0",
            }
        if self.withdrawals:
            settings["delete.retention.ms"] = str(WITHDRAWAL_DAYS * DAY_MS)
        if self.compacted:
            return {**settings, "cleanup.policy": "compact"}
        if self.segment_minutes:  # a segment that is still written to is never deleted
            settings["segment.ms"] = str(self.segment_minutes * 60_000)
        retention = int(self.retention_days * DAY_MS)
        return {**settings, "cleanup.policy": "delete", "retention.ms": str(retention)}


CATALOGUE: tuple[TopicSpec, ...] = (
    TopicSpec(CLICKS, "user", events.Click, "a user opened an item"),
    TopicSpec(PURCHASES, "user", events.Purchase, "a user bought an item"),
    TopicSpec(COMMENTS, "user", events.Comment, "a user wrote about an item"),
    TopicSpec(SCORED_COMMENTS, "user", events.ScoredComment, "a comment with its sentiment"),
    TopicSpec(
        USERS,
        "user",
        events.Profile,
        "what users say of themselves",
        compacted=True,
        erasable=True,
    ),
    TopicSpec(SERVED, "user", events.Served, "lists as they were shown"),
    TopicSpec(SENTIMENT, "one", events.Sentiment, "scored comments without text, one monitor"),
    TopicSpec(ITEMS, "item", events.Item, "the catalogue", compacted=True, withdrawals=True),
    TopicSpec(
        ITEM_VECTORS,
        "item",
        vectors_wire.ItemVector,
        "what a language model makes of items, msgpack, read by every worker",
        compacted=True,
    ),
    # Read from where a checkpoint says, seconds ago; what no checkpoint holds is sent again.
    TopicSpec(
        ITEM_DELTAS,
        "one",
        deltas_wire.ItemDelta,
        "what each worker's users add to the item statistics, msgpack, read by every worker",
        retention_days=DELTA_HOURS / 24,
        segment_minutes=20,
    ),
    TopicSpec(ALERTS, "item", events.Alert, "alerts raised and resolved", retention_days=90),
    TopicSpec(
        DEAD_LETTER,
        "one",
        events.DeadLetter,
        "events that could not be used, with the reason",
        retention_days=30,
    ),
    # Longer than any topic that holds a user's records.
    TopicSpec(
        ERASURES,
        "one",
        events.Erasure,
        "who was erased and when, by pseudonym, read by every worker",
        retention_days=40,
    ),
)

INTERACTION_TOPICS = (CLICKS, PURCHASES, COMMENTS)
TOPIC_OF_TYPE = {"click": CLICKS, "purchase": PURCHASES, "comment": COMMENTS}


def apply(
    kafka_url: str, partitions: int = PARTITIONS, replication: int = 1, timeout_seconds: float = 20
) -> list[str]:
    """Make the topics that are missing; those that are there keep withdrawals from now on, too.

    Returns:
        The names of the topics that were made.

    Raises:
        UserError: no broker answers, it refuses, or a topic has another partition count (changing
            that moves users between partitions: a migration, not a setting).
    """
    admin = _admin(kafka_url, timeout_seconds)
    try:
        existing = {
            topic["name"]: len(topic["partitions"])
            for topic in admin.describe_topics([spec.name for spec in CATALOGUE])
            if not topic.get("error_code")
        }
        missing = [spec for spec in CATALOGUE if spec.name not in existing]
        for spec in CATALOGUE:
            wanted = spec.partitions(partitions)
            if existing.get(spec.name, wanted) != wanted:
                raise UserError(
                    f"{spec.name} has {existing[spec.name]} partitions, not {wanted}: "
                    f"run with --partitions {existing[spec.name]} or start with new topics"
                )
        if missing:
            _create(admin, missing, partitions, replication)
        for spec in CATALOGUE:
            if spec.withdrawals and spec.name in existing:
                _keep_withdrawals(admin, spec)
        return [spec.name for spec in missing]
    finally:
        admin.close()


def _create(admin: Any, missing: list[TopicSpec], partitions: int, replication: int) -> None:
    from kafka.errors import InvalidReplicationFactorError, KafkaError

    wanted = {
        spec.name: {
            "num_partitions": spec.partitions(partitions),
            "replication_factor": replication,
            "configs": spec.config(),
        }
        for spec in missing
    }
    try:
        admin.create_topics(wanted)
    except InvalidReplicationFactorError:
        raise UserError(f"--replication {replication} needs as many brokers") from None
    except KafkaError as error:
        raise UserError(f"Kafka refused to make topics ({type(error).__name__})") from None


def _keep_withdrawals(admin: Any, spec: TopicSpec) -> None:
    """No other setting is changed: somebody may have had reasons. A refusal ends nothing."""
    from kafka.admin import ConfigResource
    from kafka.errors import KafkaError

    name = "delete.retention.ms"
    wanted = ConfigResource("topic", spec.name, {name: spec.config()[name]})
    try:
        answers = admin.alter_configs([wanted], raise_on_unknown=False, incremental=True)
        said = answers["topic"][spec.name]
    except KafkaError as error:
        said = type(error).__name__
    if said != "OK":
        log.warning("topics.unchanged", topic=spec.name, setting=name, reason=said)


def _admin(kafka_url: str, timeout_seconds: float) -> Any:
    import logging

    import kafka
    from kafka.errors import KafkaError

    # A broker that does not answer is our one line, not twenty of the client's.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        return kafka.KafkaAdminClient(
            **kafka_client(kafka_url),
            bootstrap_timeout_ms=int(timeout_seconds * 1000),
            client_id="springtide-topics",
        )
    except (KafkaError, ValueError) as error:
        raise UserError(
            f"no Kafka answers at {','.join(kafka_servers(kafka_url))} ({type(error).__name__}): "
            "start one with `springtide local`, or set SPRINGTIDE_KAFKA_URL"
        ) from None


def partition_count(kafka_url: str, topic: str, timeout_seconds: float = 10) -> int:
    """Partitions of a topic.

    Raises:
        UserError: no broker answers.
    """
    admin = _admin(kafka_url, timeout_seconds)
    try:
        return len(admin.describe_topics([topic])[0]["partitions"])
    finally:
        admin.close()


def require(kafka_url: str, timeout_seconds: float = 10) -> None:
    """Check that a broker answers and has every topic.

    Raises:
        UserError: no broker answers, or topics are missing.
    """
    admin = _admin(kafka_url, timeout_seconds)
    try:
        present = set(admin.list_topics())
    finally:
        admin.close()
    missing = [spec.name for spec in CATALOGUE if spec.name not in present]
    if missing:
        raise UserError(f"topics are missing ({', '.join(missing)}): run `springtide topics apply`")
