"""The edge: bytes become events, or a reason why not. Nothing unbounded passes."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from streams import events, topics
from streams.events import FUTURE_SECONDS, MAX_EVENT_BYTES, MAX_ID_BYTES

_ID_FIELDS = ("id", "user_id", "item_id", "session_id", "author_cluster", "provider_id")


class Rejected(Struct, frozen=True):
    """Why an event cannot be used."""

    reason: str


SEPARATOR = b"\n"
OBJECTS = b"}\n{"  # between two objects, one a line


is_tenant = re.compile(events.TENANT_PATTERN).match


def _decoders() -> dict[str, msgspec.json.Decoder[Any]]:
    return {spec.name: msgspec.json.Decoder(spec.message) for spec in topics.CATALOGUE}


def _bulk_decoders() -> dict[str, msgspec.json.Decoder[Any]]:
    """For interactions; they leave the pattern of the tenant to us: all have the same few."""
    return {
        spec.name: msgspec.json.Decoder(
            msgspec.defstruct(
                spec.message.__name__,
                [("tenant", str, "default")],
                bases=(spec.message,),
                frozen=True,
                kw_only=True,
                tag_field="type",
                tag=spec.message.__struct_config__.tag,
            )
        )
        for spec in topics.CATALOGUE
        if issubclass(spec.message, events.Interaction)
    }


class Intake:
    """Decodes and validates messages of every topic.

    Args:
        max_age_seconds: interactions older than this are refused; 0: every age is welcome.
    """

    def __init__(self, max_age_seconds: float = 0.0) -> None:
        self._max_age = max_age_seconds
        self._decoders = _decoders()
        self._bulk = _bulk_decoders()

    def read(self, topic: str, value: bytes | None, now: float | None = None) -> Any:
        """The message as its topic's struct, or `Rejected`."""
        if not value:
            return Rejected("empty message")
        if len(value) > MAX_EVENT_BYTES:
            return Rejected(f"larger than {MAX_EVENT_BYTES} bytes: {len(value)}")
        try:
            message = self._decoders[topic].decode(value)
        except msgspec.DecodeError as error:  # ValidationError is one of them
            return Rejected(str(error)[:300])
        except (UnicodeDecodeError, OverflowError, ValueError, RecursionError) as error:
            return Rejected(f"{type(error).__name__}: {error}"[:300])
        return self.check(message, time.time() if now is None else now)

    def read_all(
        self, topic: str, values: Sequence[bytes | None], now: float | None = None
    ) -> list[Any] | None:
        """Interactions of one topic, all at once; equal to `read` of each.

        Returns:
            None where one of them may have to be rejected, or the topic has no interactions.

        One call decodes the lines. A message must not reach over a line's end into the next one:
        each begins with { and ends with }, and where such a line end stands inside an array or an
        object there is no comma, inside a string it is no JSON.
        """
        lines = SEPARATOR.join(values) if all(values) else b""  # type: ignore[arg-type]
        ends = len(values) - 1
        if (
            topic not in self._bulk
            or len(lines) > MAX_EVENT_BYTES
            or lines[:1] != b"{"
            or lines[-1:] != b"}"
            or lines.count(SEPARATOR) != ends
            or lines.count(OBJECTS) != ends
        ):
            return None
        try:
            found: list[Any] = self._bulk[topic].decode_lines(lines)
        except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
            return None
        tenants = {message.tenant for message in found}
        if len(found) != len(values) or not all(map(is_tenant, tenants)):
            return None
        plain = lines.isascii() and b"\\" not in lines  # no id can be anything but ASCII
        if not plain and not _ids_ascii(found):
            return None
        return found if self._in_time(found, time.time() if now is None else now) else None

    def _in_time(self, found: list[Any], now: float) -> bool:
        times = [message.occurred_at for message in found]
        latest = datetime.fromtimestamp(now + FUTURE_SECONDS, UTC)
        if self._max_age:
            return bool(min(times).timestamp() >= now - self._max_age and max(times) <= latest)
        return bool(max(times) <= latest)

    def check(self, message: Any, now: float) -> Any:
        """Bounds that a schema cannot say: bytes of ids, and time against the clock."""
        for name in _ID_FIELDS:
            value = getattr(message, name, None)
            if value is not None and not _fits(value):
                return Rejected(f"{name} is longer than {MAX_ID_BYTES} bytes or not valid UTF-8")
        if isinstance(message, events.Interaction):
            try:
                at = message.occurred_at.timestamp()
            except (OverflowError, ValueError):
                return Rejected("occurred_at is outside the calendar")
            if at > now + FUTURE_SECONDS:
                return Rejected(f"occurred_at is more than {FUTURE_SECONDS:.0f} s in the future")
            if self._max_age and at < now - self._max_age:
                return Rejected(f"older than --max-age {self._max_age:.0f} s")
        return message


def _ids_ascii(found: Sequence[Any]) -> bool:
    """Where they are, their lengths in characters are those in bytes."""
    for name in _ID_FIELDS:
        if hasattr(found[0], name):
            ids = [getattr(message, name) for message in found]
            if not "".join(filter(None, ids)).isascii():
                return False
    return True


def _fits(text: str) -> bool:
    try:
        return len(text.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:  # a lone surrogate
        return False
