"""Many messages decoded at once are what they are one by one, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import topics
from streams.intake import Intake, Rejected

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIELDS = {"type": "click", "occurred_at": NOW.isoformat(), "user_id": "u", "item_id": "i"}


def click(name: str, **changes: Any) -> bytes:
    return msgspec.json.encode({"id": name, **FIELDS, **changes})


def both(values: Sequence[bytes | None], max_age: float = 0.0) -> tuple[Any, list[Any]]:
    intake, now = Intake(max_age), NOW.timestamp()
    return (
        intake.read_all(topics.CLICKS, values, now),
        [intake.read(topics.CLICKS, value, now) for value in values],
    )


GOOD = [
    click("a"),
    click("b", tenant="school-7", position=3, session_id="s", dwell_seconds=1.5),
    click("c\\n}\n{", surface="home"),  # a line's end inside a string is escaped
    click("d", occurred_at="1970-01-01T00:00:00Z"),
]
ODD = [
    None,
    b"",
    b"{",
    b"[]",
    b"{}\n{}",
    b'{"a":[{}',
    b"{}]}",
    click("课"),
    click("e" * 128),
    click("课" * 43),
    click("f", tenant="Not OK"),
    click("g", tenant="ok\n"),
    click("h", tenant=""),
    click("i", type="purchase"),
    click("j", user_id=""),
    click("k", occurred_at=(NOW + timedelta(minutes=6)).isoformat()),
    click("l", occurred_at="2026-03-01T12:00:00"),
    click("m").replace(b'"m"', b'"\\ud800"'),
    click("n").replace(b'"n"', b'"\xff"'),
    click("o") + b"\n" + click("p"),
    click("q") + b"\n",
    b" " + click("r"),
    click("s").replace(b'"u"', b"[{}\n{}]"),
]


@given(st.lists(st.sampled_from([*GOOD, *ODD]), min_size=1, max_size=6))
def test_at_once_is_as_one_by_one_or_nothing(values: list[bytes | None]) -> None:
    together, alone = both(values)
    if together is not None:
        assert not any(isinstance(each, Rejected) for each in alone)
        assert [msgspec.structs.asdict(each) for each in together] == [
            msgspec.structs.asdict(each) for each in alone
        ]
        assert all(isinstance(one, type(other)) for one, other in zip(together, alone, strict=True))


@given(st.lists(st.sampled_from(GOOD), min_size=1, max_size=20))
def test_good_messages_are_taken_at_once(values: list[bytes]) -> None:
    assert both(values)[0] is not None


@pytest.mark.parametrize("odd", range(len(ODD)))
def test_what_may_have_to_be_rejected_goes_one_by_one(odd: int) -> None:
    together, alone = both([GOOD[0], ODD[odd], GOOD[1]])
    if isinstance(alone[1], Rejected):
        assert together is None


def test_old_events_go_one_by_one_where_an_age_is_set() -> None:
    assert both([GOOD[0], GOOD[3]], max_age=3600.0)[0] is None
    assert both([GOOD[0], GOOD[1]], max_age=3600.0)[0] is not None


def test_only_interactions_are_taken_at_once() -> None:
    profile = b'{"user_id":"u"}'
    assert Intake().read_all(topics.USERS, [profile]) is None
