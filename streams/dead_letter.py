"""Dead letters: what could not be used, with its reason and its source; written, read, replayed."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from infra.settings import UserError
from streams import topics, whole_topic
from streams.erasure import Erasures
from streams.events import DeadLetter
from streams.outlet import Outgoing, Outlet

# In base64 this stays below the topic's largest message; a longer payload is cut, and says so.
MAX_PAYLOAD_BYTES = 700_000
MAX_KEY_BYTES = 1_024


def make_dead_letter(
    reason: str, topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None
) -> DeadLetter:
    """The letter for one record of Kafka."""
    payload = value or b""
    return DeadLetter(
        reason=reason,
        topic=topic,
        partition=partition,
        offset=offset,
        dead_lettered_at=datetime.now(UTC),
        payload_base64=base64.b64encode(payload[:MAX_PAYLOAD_BYTES]).decode(),
        payload_bytes=len(payload),
        payload_truncated=len(payload) > MAX_PAYLOAD_BYTES,
        key_base64=base64.b64encode((key or b"")[:MAX_KEY_BYTES]).decode(),
    )


async def read_all(kafka_url: str) -> AsyncIterator[DeadLetter]:
    """Every dead letter there is now, oldest first; one that was written twice comes once.

    Raises:
        UserError: no broker answers, or the topic is missing.
    """
    await asyncio.to_thread(topics.require, kafka_url)
    met: set[tuple[str, int, int]] = set()
    async for record in whole_topic.read(kafka_url, topics.DEAD_LETTER, "springtide-dead-letters"):
        letter = msgspec.json.decode(record.value, type=DeadLetter)
        source = (letter.topic, letter.partition, letter.offset)
        if source not in met:
            met.add(source)
            yield letter


async def replay(kafka_url: str, letters: list[DeadLetter]) -> int:
    """Send the payloads to their topics again, with their keys; an id that was used is known.

    Returns:
        How many were sent: a payload that was cut cannot be.
    """
    whole = [letter for letter in letters if not letter.payload_truncated]
    outlet = Outlet(kafka_url)
    await outlet.start()
    try:
        await outlet.write(
            [
                Outgoing(
                    letter.topic,
                    base64.b64decode(letter.key_base64),
                    base64.b64decode(letter.payload_base64),
                    # Users keep their partition, whatever partitioner their producer used.
                    letter.partition,
                )
                for letter in whole
            ]
        )
    finally:
        await outlet.stop()
    return len(whole)


def of_nobody_erased(letters: list[DeadLetter], erasures: Erasures) -> list[DeadLetter]:
    """Those that no erased user left: neither by their key nor by what they say."""
    kept = []
    for letter in letters:
        at = round(letter.dead_lettered_at.timestamp() * 1000)
        if not any(erasures.erased(*author, at, derived=True) for author in _authors(letter)):
            kept.append(letter)
    return kept


class _Author(Struct, frozen=True):
    user_id: str
    tenant: str = "default"


def _authors(letter: DeadLetter) -> Iterator[tuple[str, str]]:
    """(tenant, user) by the letter's key, `tenant/user`, and by its payload where that is JSON.

    A producer may have sent it without a key; the replay would then bring him back.
    """
    tenant, _, user = base64.b64decode(letter.key_base64).decode("utf-8", "replace").partition("/")
    yield tenant, user
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = msgspec.json.decode(base64.b64decode(letter.payload_base64), type=_Author)
        yield said.tenant, said.user_id


def source_of(letter: DeadLetter) -> str:
    """`topic/partition/offset` of the record."""
    return f"{letter.topic}/{letter.partition}/{letter.offset}"


def pick(letters: list[DeadLetter], reason: str | None, source: str | None) -> list[DeadLetter]:
    """Those whose reason contains `reason` and whose source is `source`.

    Raises:
        UserError: a source was named that no letter has.
    """
    chosen = [
        letter
        for letter in letters
        if (reason is None or reason in letter.reason)
        and (source is None or source_of(letter) == source)
    ]
    if source is not None and not chosen:
        raise UserError(f"no dead letter came from {source}: see `springtide dead-letters list`")
    return chosen
