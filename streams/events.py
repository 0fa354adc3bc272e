"""What flows: every message on every topic as a msgspec struct, JSON on the wire.

Evolution is additive only: readers ignore fields they do not know, new fields have defaults. The
JSON Schema of the public ones is committed in `streams/schemas/` and kept current by a test.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

MAX_EVENT_BYTES = 1_000_000
MAX_ID_BYTES = 128
FUTURE_SECONDS = 300.0

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_BYTES, description="≤ 128 bytes UTF-8")]
TENANT_PATTERN = r"^[a-z0-9-]{1,64}\Z"
Tenant = Annotated[str, Meta(pattern=TENANT_PATTERN)]
Utc = Annotated[datetime, Meta(tz=True, description="RFC 3339")]
Short = Annotated[str, Meta(max_length=256)]
Label = Annotated[str, Meta(max_length=64)]
Labels = Annotated[tuple[Label, ...], Meta(max_length=64)]
# Without the unit separator, which checkpoints have between interests: one would be read as many.
Interest = Annotated[str, Meta(max_length=64, pattern=r"^[^\x1f]*$")]
Interests = Annotated[tuple[Interest, ...], Meta(max_length=64)]
Probability = Annotated[float, Meta(ge=0, le=1)]
NonNegative = Annotated[float, Meta(ge=0, le=1e12)]


class Interaction(Struct, frozen=True, kw_only=True, tag_field="type"):
    """What every interaction says. `id` is unique in its tenant: the idempotence key."""

    id: Id
    occurred_at: Utc
    user_id: Id
    item_id: Id
    tenant: Tenant = "default"
    session_id: Id | None = None
    surface: Label | None = None


class Click(Interaction, frozen=True, kw_only=True, tag="click"):
    """A user opened an item."""

    position: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    dwell_seconds: NonNegative | None = None
    list_version: Short | None = None


class Purchase(Interaction, frozen=True, kw_only=True, tag="purchase"):
    """A user bought an item."""

    price: NonNegative = 0.0
    currency: Annotated[str, Meta(max_length=8)] = "CNY"
    quantity: Annotated[int, Meta(ge=1, le=1_000_000)] = 1


class Comment(Interaction, frozen=True, kw_only=True, tag="comment"):
    """A user wrote about an item; scored before it is learned."""

    text: Annotated[str, Meta(max_length=10_000)]
    rating: Annotated[float, Meta(ge=0, le=10)] | None = None
    language: Label | None = None
    author_cluster: Id | None = None


Event = Click | Purchase | Comment


class ScoredComment(Interaction, frozen=True, kw_only=True, tag="scored-comment"):
    """A comment with its sentiment; same key and partition as the comment it came from."""

    text: str
    label: Literal["negative", "neutral", "positive"]
    negative: Probability
    neutral: Probability
    positive: Probability
    model_version: Short
    topics: Labels = ()
    language: Label | None = None
    author_cluster: Id | None = None
    source_partition: Annotated[int, Meta(ge=0, lt=65_536)]
    source_offset: Annotated[int, Meta(ge=0, lt=2**48)]
    source_received_ms: Annotated[
        int, Meta(ge=0, lt=2**53, description="when its comment was appended; 0: not said")
    ] = 0


class Sentiment(Struct, frozen=True, kw_only=True):
    """The compact record of one scored comment, for the monitor; no text."""

    id: Id
    tenant: Tenant
    item_id: Id
    label: Literal["negative", "neutral", "positive"]
    negative: Probability
    occurred_at: Utc
    model_version: Short
    source_partition: Annotated[int, Meta(ge=0, lt=65_536)]
    source_offset: Annotated[int, Meta(ge=0, lt=2**48)]
    topics: Labels = ()
    author_cluster: Id | None = None
    surface: Label | None = None
    language: Label | None = None


class Item(Struct, frozen=True, kw_only=True):
    """A catalogue item; the latest message of a key holds."""

    item_id: Id
    title: Annotated[str, Meta(max_length=1_000)]
    tenant: Tenant = "default"
    description: Annotated[str, Meta(max_length=100_000)] = ""
    topics: Labels = ()
    level: Label | None = None
    skills: Labels = ()
    prerequisites: Annotated[tuple[Id, ...], Meta(max_length=64)] = ()
    price: NonNegative | None = None
    available: bool = True
    published_at: Utc | None = None
    provider_id: Id | None = None
    language: Label | None = None


class Profile(Struct, frozen=True, kw_only=True):
    """What a user says of himself. Interests are optional and deletable."""

    user_id: Id
    tenant: Tenant = "default"
    interests: Interests = ()
    level: Label | None = None
    personalise: bool = True
    deleted: bool = False


class Served(Struct, frozen=True, kw_only=True):
    """A list as it was shown: experiments and unbiased evaluation stand on it."""

    user_id: Id
    list_version: Short
    items: Annotated[tuple[Id, ...], Meta(max_length=500)]
    served_at: Utc
    tenant: Tenant = "default"
    positions: Annotated[tuple[int, ...], Meta(max_length=500)] = ()
    policy: Label = ""
    surface: Label = ""
    seed: int = 0
    explored: Annotated[
        tuple[int, ...], Meta(max_length=500, description="of items, by number: shown to explore")
    ] = ()
    propensities: Annotated[
        tuple[Probability, ...], Meta(max_length=500, description="of each of explored")
    ] = ()


class AlertComment(Struct, frozen=True):
    """One of the comments that tell what an alert is about; on alerts.v1 without its text."""

    id: str
    text: str
    negative: float
    occurred_at: Utc | None = None


class AlertSlice(Struct, frozen=True):
    """What the comments of a spike have in common; no attributes: it is everywhere.

    Attributes:
        attributes: of topic, surface, model_version, language.
        held: its evidence ÷ that of the slice with most.
        share, usual: of negative comments, now and before.
    """

    attributes: dict[str, str]
    held: float
    share: float
    usual: float
    comments: int


class Alert(Struct, frozen=True, kw_only=True):
    """A spike of negative comments: raised, and later resolved, under one fingerprint."""

    fingerprint: str
    tenant: Tenant
    key: str
    channel: str
    state: Literal["firing", "resolved"]
    started_at: Utc
    raised_at: Utc
    evidence: float  # log10 of the e-value
    threshold: float  # log10 of what the false-alarm budget asks
    negatives: int
    comments: int
    share: float
    baseline: float
    effect: float
    severity: str
    title: str = ""
    historic: bool = False  # older than the pager's age limit: to history, not to the pager
    examples: tuple[AlertComment, ...] = ()
    parent: str = ""  # key under which it is grouped: an item's topic, a topic's tenant
    common: tuple[str, ...] = ()  # keys of the tenant and of models that rose as well
    terms: tuple[str, ...] = ()  # that tell its comments from others
    slices: tuple[AlertSlice, ...] = ()  # that hold it, the likeliest first
    link: str = ""  # to the ops page that shows it; its path where SPRINGTIDE_OPS_URL is not set


class Erasure(Struct, frozen=True, kw_only=True):
    """A user was erased: what he left until then is skipped wherever it is read again."""

    tenant: Tenant
    user_keys: tuple[str, ...]  # his pseudonyms, the current key's first
    partition: int  # of users.v1, hence of everything that is keyed by him
    erased_at: Utc  # when the request was appended


class DeadLetter(Struct, frozen=True, kw_only=True):
    """An event that could not be used: why, where it came from, and what it was."""

    reason: str
    topic: str
    partition: int
    offset: int
    dead_lettered_at: Utc
    payload_base64: str
    payload_bytes: int
    payload_truncated: bool = False
    key_base64: str = ""


def encode(message: Struct) -> bytes:
    """The wire form: compact JSON."""
    return msgspec.json.encode(message)


def user_key(tenant: str, user_id: str) -> bytes:
    """The Kafka key of a user's messages."""
    return f"{tenant}/{user_id}".encode()


def item_key(tenant: str, item_id: str) -> bytes:
    """The Kafka key of an item's messages."""
    return f"{tenant}/{item_id}".encode()
