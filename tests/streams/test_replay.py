"""Odd files: what can be sent is sent, what cannot is counted and named, and nothing is guessed."""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.settings import UserError
from streams import topics
from streams.events import Click, Comment, Event, Purchase
from streams.intake import Intake, Rejected
from streams.replay import Replay, ReplayOptions
from streams.replay_rows import RowFile
from streams.replay_times import parse_time
from streams.sender import Outbound

DEFAULTS = ReplayOptions()


def write(folder: Path, text: str, name: str = "events.csv") -> Path:
    path = folder / name
    content = text.encode("utf-8", "surrogateescape")
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def replay(path: Path, options: ReplayOptions = DEFAULTS) -> tuple[list[Outbound], Replay]:
    with RowFile(path) as file:
        source = Replay(file, options)
        return list(source), source


def events(path: Path, options: ReplayOptions = DEFAULTS) -> list[Event]:
    intake = Intake()
    found = [intake.read(one.topic, one.value) for one in replay(path, options)[0]]
    assert not [one for one in found if isinstance(one, Rejected)]
    return found


def test_obvious_names_need_no_map(tmp_path: Path) -> None:
    path = write(tmp_path, "UserID,Item-Id,Timestamp,rating\nu1,i1,970620734,5\n")
    (event,) = events(path)
    assert event == Click(
        id=event.id,
        user_id="u1",
        item_id="i1",
        occurred_at=datetime(2000, 10, 4, 0, 52, 14, tzinfo=UTC),
    )


@pytest.mark.parametrize("name", ["e.csv", "e.csv.gz", "e.tsv", "e.jsonl", "e.jsonl.gz"])
def test_every_format_says_the_same(tmp_path: Path, name: str) -> None:
    rows = [{"who": f"u{i}", "what": f"课程 {i}", "when": str(1000 + i)} for i in range(300)]
    if "jsonl" in name:
        text = "\n".join(json.dumps(row) for row in rows)
    else:
        separator = "\t" if "tsv" in name else ","
        lines = [rows[0], *(row.values() for row in rows)]
        text = "\ufeff" + "\r\n".join(separator.join(line) for line in lines)
    path = write(tmp_path, text, name)
    found = events(path, ReplayOptions(map="user=who, item=what, time=when"))
    assert [one.user_id for one in found] == [f"u{i}" for i in range(300)]
    assert found[7].item_id == "课程 7" and found[7].id.startswith(f"{name}:8:")
    assert found[-1].occurred_at.timestamp() == 1299


def test_a_row_without_a_user_is_a_user_of_its_own(tmp_path: Path) -> None:
    alone = events(write(tmp_path, "item,text\ni1,good\ni1,bad\n"), ReplayOptions(type="comment"))
    assert [one.user_id for one in alone] == ["1", "2"]
    among = events(write(tmp_path, "user,item\n2,i1\n,i1\n"))
    assert [one.user_id for one in among] == ["2", "row-2"]  # not the user whose name is 2


def test_a_type_column_says_the_type(tmp_path: Path) -> None:
    text = (
        "id,type,user,item,time,text,price,quantity,currency\n"
        "a,click,u,i,1,,,,\nb,Purchase,u,i,2,,9.5,2,EUR\nc,review,u,i,3,too slow,,,\n"
        "d,,u,i,4,,,,\ne,party,u,i,5,,,,\n"
    )
    path = write(tmp_path, text)
    found = events(path)
    assert [type(one) for one in found] == [Click, Purchase, Comment, Click]
    assert [one.id for one in found] == list("abcd")
    assert isinstance(found[1], Purchase)
    assert (found[1].price, found[1].quantity, found[1].currency) == (9.5, 2, "EUR")
    source = replay(path)[1]
    assert (source.skipped, source.first_skipped) == (1, "row 5: no type 'party'")
    # Said on the command line: the column is not asked.
    assert all(isinstance(one, Purchase) for one in events(path, ReplayOptions(type="purchase")))


def test_our_own_events_pass_through(tmp_path: Path) -> None:
    at = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
    who: dict[str, Any] = {"occurred_at": at, "tenant": "acme", "user_id": "u", "item_id": "i"}
    sent: list[Event] = [
        Click(id="1", **who, session_id="s", surface="home"),
        Purchase(id="2", **who, price=3.5, quantity=2),
        Comment(id="3", **who, text="好", rating=5, language="zh", author_cluster="c"),
    ]
    text = "\n".join(msgspec.json.encode(one).decode() for one in sent)
    assert events(write(tmp_path, text, "e.jsonl")) == sent


def test_what_cannot_be_read_is_counted_and_shown(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item,time\nu,i,1\nu,,2\nu,i,yesterday\nu,i\nu,i,nan\nu,i,5\n")
    sent, source = replay(path)
    assert (len(sent), source.rows, source.skipped) == (2, 6, 4)
    assert source.first_skipped == "row 2: no item"


def test_jsonl_with_broken_lines_goes_on(tmp_path: Path) -> None:
    lines = ['{"item": "a"}', "[1, 2]", "{", "", '{"item": {"a": 1}}', '{"item": 7}', "null"]
    sent, source = replay(write(tmp_path, "\n".join(lines), "e.jsonl"))
    assert (len(sent), source.rows, source.skipped) == (2, 6, 4)
    assert b'"item_id":"7"' in sent[1].value
    assert source.first_skipped.startswith("row 2: not a JSON object")


def test_the_future_is_sent_and_counted(tmp_path: Path) -> None:
    ahead = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    sent, source = replay(write(tmp_path, f"user,item,time\nu,i,{ahead}\n"))
    assert source.in_future == 1 and source.skipped == 0
    assert isinstance(Intake().read(sent[0].topic, sent[0].value), Rejected)


def test_a_file_without_times_happens_now(tmp_path: Path) -> None:
    (event,) = events(write(tmp_path, "item\ni\n"))
    assert abs(event.occurred_at.timestamp() - time.time()) < 60


def test_limit_counts_events(tmp_path: Path) -> None:
    path = write(tmp_path, "item\n,\na\n,\nb\nc\n")
    sent, source = replay(path, ReplayOptions(limit=2))
    assert (len(sent), source.rows, source.skipped) == (2, 4, 2)


def test_a_number_that_cannot_be_read_leaves_its_event(tmp_path: Path) -> None:
    (event,) = events(
        write(tmp_path, "item,text,rating\ni,ok,85 %\n"), ReplayOptions(type="comment")
    )
    assert isinstance(event, Comment) and event.rating is None


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (ReplayOptions(map="user=nobody"), "no column 'nobody' for user; the file has 'a', 'b'"),
        (ReplayOptions(), "which column is the item? --map item=COLUMN; the file has 'a', 'b'"),
        (ReplayOptions(map="item=a", type="comment"), "which column is the text?"),
        (ReplayOptions(map="item"), "write field=column"),
        (ReplayOptions(map="colour=a"), "no field 'colour'"),
        (ReplayOptions(map="item=a", type="like"), "use click, purchase, comment"),
        (ReplayOptions(map="item=a", tenant="A B"), "--tenant A B"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    tmp_path: Path, options: ReplayOptions, complaint: str
) -> None:
    with pytest.raises(UserError) as error:
        replay(write(tmp_path, "a,b\n1,2\n"), options)
    assert complaint in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("e.csv", b"", "empty"),
        ("e.jsonl", b"", "no JSON objects"),
        ("e.jsonl", b"a,b\n1,2\n", "row 1: not a JSON object"),
        ("e.csv.gz", b"\x1f\x8bnot gzip", "damaged after row 0"),
    ],
)
def test_files_that_are_none(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=complaint):
        replay(path)
    with pytest.raises(UserError, match="no such file"):
        replay(tmp_path / "missing.csv")


def test_a_cut_off_file_says_where(tmp_path: Path) -> None:
    text = "item\n" + "".join(f"item-{i * 7919 % 10007}\n" for i in range(20_000))
    path = write(tmp_path, text, "e.csv.gz")
    path.write_bytes(path.read_bytes()[:-5_000])
    with RowFile(path) as file:
        source, sent = Replay(file, DEFAULTS), 0
        with pytest.raises(UserError, match="damaged after row") as error:
            for _ in source:
                sent += 1
    assert sent > 1_000 and f"after row {sent} " in str(error.value)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    import tracemalloc

    path = write(tmp_path, "item,note\n" + f"i,{'x' * 1000}\n" * 6_000, "e.csv.gz")
    with RowFile(path) as file:
        tracemalloc.start()
        count = sum(1 for _ in Replay(file, DEFAULTS))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert count == 6_000 and peak < 3_000_000


cells = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(st.lists(cells, min_size=1, max_size=6), min_size=1, max_size=8))
def test_any_table_is_sent_or_counted(tmp_path: Path, rows: list[list[str]]) -> None:
    """Every row is sent or left out, no row twice, and nothing else happens."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["user", "item", "time", "text", "id"], *rows])
    sent, source = replay(write(tmp_path, buffer.getvalue()), ReplayOptions(type="comment"))
    assert source.rows == len(rows)
    assert source.events + source.skipped == len(rows) and len(sent) == source.events
    assert bool(source.skipped) == bool(source.first_skipped)
    for one in sent:
        message = msgspec.json.decode(one.value)
        assert one.topic == topics.COMMENTS and message["item_id"]
        assert one.key == f"default/{message['user_id']}".encode()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=300))
@pytest.mark.parametrize("name", ["e.csv", "e.jsonl"])
def test_any_bytes_end_in_events_or_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(b'{"item": "a"}\n' * name.endswith("jsonl") + b"item,user\n" + content)
    try:
        sent, source = replay(path)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert len(sent) + source.skipped == source.rows


MOMENT = datetime(2015, 2, 16, 23, 36, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2015-02-16 23:36:00",
        "2015-02-16T23:36:00Z",
        "2015-02-17T00:36:00+01:00",
        "20150216T2336Z",
        1424129760,
        "1424129760",
        "1424129760.0",
        1424129760000,
        "1424129760000",
        "1424129760000000",
        1424129760000000000,
    ],
)
def test_times_are_read(text: Any) -> None:
    assert parse_time(text) == MOMENT


@pytest.mark.parametrize(
    "text", ["", "soon", "nan", "inf", "1e300", "99999-01-01", "0001-01-01T00:00:00+05:00", True]
)
def test_times_that_are_none(text: Any) -> None:
    with pytest.raises(ValueError):
        parse_time(text)


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)))
def test_epochs_come_back(at: datetime) -> None:
    moment = at.replace(tzinfo=UTC)
    assert parse_time(moment.isoformat()) == moment
    assert parse_time(at.isoformat(" ")) == moment
    assert abs(parse_time(moment.timestamp()) - moment) < timedelta(milliseconds=1)
