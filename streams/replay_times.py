"""Times as files write them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

# A number this large cannot be seconds (the year 5138): it is milliseconds, then micro, then nano.
MILLISECONDS_FROM = 1e11


def parse_time(value: Any) -> datetime:
    """Epoch seconds, milliseconds (micro-, nanoseconds) or ISO 8601; without a zone it is UTC.

    Args:
        value: number or text.

    Returns:
        An aware datetime in UTC.

    Raises:
        ValueError: neither, or outside the calendar.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = str(value).strip()
        number = _number(text)
        if number is None:
            return _iso(text)
        value = number
    return _epoch(float(value))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _epoch(seconds: float) -> datetime:
    if not math.isfinite(seconds):
        raise ValueError("not finite")
    for _ in range(3):
        if abs(seconds) < MILLISECONDS_FROM:
            break
        seconds /= 1000
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError):
        raise ValueError("outside the calendar") from None


def _iso(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError("outside the calendar") from None
