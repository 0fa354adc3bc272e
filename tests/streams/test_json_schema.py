"""The committed schemas are the ones the code validates by, and real messages fit them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import msgspec
import pytest

from streams import events, json_schema, topics

FOLDER = Path(json_schema.__file__).parent / "schemas"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_committed_schemas_are_current() -> None:
    committed = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.json")}
    assert committed == json_schema.texts(), (
        "run `springtide topics schemas --to streams/schemas` and commit"
    )


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        (topics.CLICKS, events.Click(id="1", occurred_at=NOON, user_id="u", item_id="i")),
        (
            topics.PURCHASES,
            events.Purchase(id="1", occurred_at=NOON, user_id="u", item_id="i", price=9.5),
        ),
        (
            topics.COMMENTS,
            events.Comment(id="1", occurred_at=NOON, user_id="用户", item_id="i", text="很好"),
        ),
        (topics.ITEMS, events.Item(item_id="i", title="t", topics=("a", "b"))),
        (topics.USERS, events.Profile(user_id="u", interests=("python",))),
    ],
)
def test_a_message_fits_its_schema(topic: str, message: msgspec.Struct) -> None:
    schema = json.loads((FOLDER / f"{topic}.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(events.encode(message)))


def test_a_reader_of_yesterday_understands_a_field_of_tomorrow() -> None:
    click = events.Click(id="1", occurred_at=NOON, user_id="u", item_id="i")
    later = json.loads(events.encode(click)) | {"scroll_depth": 0.7}
    assert msgspec.json.decode(json.dumps(later).encode(), type=events.Click) == click
