"""What may pass the edge, and with which reason the rest does not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import topics
from streams.events import MAX_EVENT_BYTES, Click, Comment
from streams.intake import Intake, Rejected

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def click(**changes: Any) -> bytes:
    fields = {
        "id": "e1",
        "type": "click",
        "occurred_at": NOW.isoformat(),
        "user_id": "u",
        "item_id": "i",
    }
    return json.dumps({k: v for k, v in (fields | changes).items() if v is not ...}).encode()


def read(value: bytes | None, topic: str = topics.CLICKS, max_age: float = 0.0) -> Any:
    return Intake(max_age).read(topic, value, NOW.timestamp())


def test_a_good_event_passes() -> None:
    event = read(click())
    assert isinstance(event, Click) and event.tenant == "default" and event.occurred_at == NOW


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty message"),
        (b"", "empty message"),
        (b"{", "truncated"),
        (b"[]", "Expected `object`"),
        (b'"\xff"', ""),
        (b"[" * 100_000, ""),
        (click(user_id=...), "user_id"),
        (click(item_id=7), "item_id"),
        (click(type="refund"), "refund"),
        (click(type="purchase"), "purchase"),
        (click(dwell_seconds=-1), "dwell_seconds"),
        (click(tenant="Not OK"), "tenant"),
        (click(tenant="ok\n"), "tenant"),
        (click(item_id=""), "item_id"),
        (click(user_id="课" * 43), "user_id is longer than 128 bytes"),
        (click(user_id="\ud800"), ""),
        (click().replace(b'"u"', b"NaN"), ""),
        (click(dwell_seconds=1).replace(b": 1", b": 1e999"), ""),
        (click(occurred_at="yesterday"), "occurred_at"),
        (click(occurred_at="2026-03-01T12:00:00"), "occurred_at"),  # no zone
        (click(occurred_at=(NOW + timedelta(minutes=6)).isoformat()), "in the future"),
        (click(occurred_at="9999-12-31T23:59:59+00:00"), "in the future"),
        (b" " * (MAX_EVENT_BYTES + 1), "larger than"),
    ],
)
def test_a_bad_event_is_rejected_with_its_reason(value: bytes | None, reason: str) -> None:
    answer = read(value)
    assert isinstance(answer, Rejected) and reason in answer.reason and answer.reason


@pytest.mark.parametrize("at", ["1970-01-01T00:00:00Z", "2026-03-01T12:04:59Z"])
def test_old_events_and_small_clock_errors_are_welcome(at: str) -> None:
    assert isinstance(read(click(occurred_at=at)), Click)


def test_old_events_are_refused_where_an_age_is_set() -> None:
    hour_ago = (NOW - timedelta(hours=1)).isoformat()
    assert isinstance(read(click(occurred_at=hour_ago), max_age=7200), Click)
    assert read(click(occurred_at=hour_ago), max_age=1800) == Rejected(
        "older than --max-age 1800 s"
    )


def test_a_comment_may_be_empty_but_not_endless() -> None:
    def comment(text: str) -> Any:
        return read(click(type="comment", text=text), topics.COMMENTS)

    assert isinstance(comment(""), Comment)
    assert isinstance(comment("好" * 10_000), Comment)
    assert isinstance(comment("x" * 100_000), Rejected)


@given(st.binary(max_size=300), st.sampled_from([spec.name for spec in topics.CATALOGUE]))
def test_no_bytes_raise(value: bytes, topic: str) -> None:
    assert read(value, topic) is not None


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(["id", "occurred_at", "user_id", "item_id", "tenant", "position", "surface"]),
)
def test_no_field_value_raises(value: Any, field: str) -> None:
    assert isinstance(read(click(**{field: value})), (Click, Rejected))


def test_one_interest_is_not_read_as_many() -> None:
    def profile(interest: str) -> bytes:
        return json.dumps({"user_id": "u", "interests": [interest]}).encode()

    assert read(profile("数据\n#1"), topics.USERS).interests == ("数据\n#1",)
    many = read(profile("\x1f".join("abcdefgh")), topics.USERS)
    assert isinstance(many, Rejected) and "interests" in many.reason
