"""POST /v1/events and /v1/served: for platforms without a Kafka client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from streams import topics
from streams.api_answers import EventBatch, Outcome, Outcomes, ServedBatch, answer
from streams.api_request import body
from streams.events import encode, user_key
from streams.intake import Rejected
from streams.outlet import Outgoing

if TYPE_CHECKING:
    from streams.api_parts import Api


class Head(Struct, frozen=True):
    """What decides where an entry belongs, before it is read as what it says it is."""

    type: str | None = None
    id: str | None = None
    tenant: str | None = None


async def post_events(api: Api, request: Request, tenant: str) -> Response:
    """POST /v1/events"""
    batch = await body(request, EventBatch)
    return await _take(api, tenant, batch.events, _topic_of_event)


async def post_served(api: Api, request: Request, tenant: str) -> Response:
    """POST /v1/served"""
    batch = await body(request, ServedBatch)
    return await _take(api, tenant, batch.served, lambda _: topics.SERVED)


def _topic_of_event(head: Head) -> str | Rejected:
    topic = topics.TOPIC_OF_TYPE.get(head.type or "")
    return topic or Rejected(f"type: one of {', '.join(topics.TOPIC_OF_TYPE)}")


async def _take(
    api: Api,
    tenant: str,
    entries: Sequence[msgspec.Raw],
    topic_of: Callable[[Head], str | Rejected],
) -> Response:
    """Each entry is judged alone; what is accepted is in Kafka before we answer."""
    records: list[Outgoing] = []
    outcomes: list[Outcome] = []
    for entry in entries:
        read = _read(api, tenant, bytes(entry), topic_of)
        if isinstance(read, Outgoing):
            records.append(read)
        outcomes.append(_outcome(bytes(entry), read))
    if records:
        await api.to_kafka(records)
    rejected = len(outcomes) - len(records)
    api.metrics.events.labels("accepted").inc(len(records))
    api.metrics.events.labels("rejected").inc(rejected)
    return answer(Outcomes(len(records), rejected, outcomes), 202 if records else 422)


def _read(
    api: Api, tenant: str, entry: bytes, topic_of: Callable[[Head], str | Rejected]
) -> Outgoing | Rejected:
    head = _head(entry)
    if isinstance(head, Rejected):
        return head
    if head.tenant not in (None, tenant):
        return Rejected(f"tenant: you send for {tenant}; leave the field out")
    topic = topic_of(head)
    if isinstance(topic, Rejected):
        return topic
    message: Any = api.intake.read(topic, entry)
    if isinstance(message, Rejected):
        return message
    message = msgspec.structs.replace(message, tenant=tenant)
    return Outgoing(topic, user_key(tenant, message.user_id), encode(message))


def _head(entry: bytes) -> Head | Rejected:
    try:
        return msgspec.json.decode(entry, type=Head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Rejected(str(error)[:300])


def _outcome(entry: bytes, read: Outgoing | Rejected) -> Outcome:
    head = _head(entry)
    known = head.id[:128] if isinstance(head, Head) and head.id else None
    if isinstance(read, Rejected):
        return Outcome(False, known, read.reason)
    return Outcome(True, known)
