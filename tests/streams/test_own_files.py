"""Files as people have them: what would spoil the figures is told, nothing is merged or guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import json

from infra.settings import UserError
from models.data import load_sets
from models.topic_data import load_topic_sets
from streams.commands.evaluate_sentiment import _read, _words
from streams.commands.evaluate_sessions import read_sessions
from streams.history import from_file
from streams.labelled_rows import read_labelled, read_pairs, read_texts
from streams.lists_file import Filters, read_stream
from streams.lists_items import ItemColumns, read_tags, tell_described
from streams.replay import Replay, ReplayOptions
from streams.replay_rows import RowFile
from streams.spikes_file import parse_spike_map, read_spike_stream

CHINESE = "user_id,item_id,time\n张三,课程甲,1\n李四,课程乙,2\n王五,课程丙,3\n"
Told = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "own.csv"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_mark_says_the_encoding(file: Path, encoding: str) -> None:
    file.write_text(CHINESE, encoding)
    stream, skipped = read_stream(file, Filters())
    assert stream.user_ids == ["张三", "李四", "王五"] and skipped == 0


def test_ids_in_another_encoding_are_left_out_not_merged(file: Path, capsys: Told) -> None:
    file.write_text(CHINESE + "u,i,4\n", "gb18030")
    stream, skipped = read_stream(file, Filters())
    assert stream.user_ids == ["u"] and skipped == 3
    assert "3 rows left out, the first: row 1: the user_id is not UTF-8" in capsys.readouterr().err
    assert from_file(file, "", None, None).skipped == 3
    assert list(read_tags(file, ItemColumns(tags=("time",)))) == ["i"]
    with RowFile(file) as rows:
        replay = Replay(rows, ReplayOptions())
        assert len(list(replay)) == 1 and "not UTF-8" in replay.first_skipped


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("用户,课程\nu,i\n".encode("gb18030"), "the first line is no text, or not UTF-8"),
        (b"PK\x03\x04\0\0user_id,item_id\nu,i\n", "the first line is no text"),
        (b"user_id,user_id,item_id\na,b,c\n", "2 columns are named 'user_id'"),
    ],
)
def test_a_first_line_that_cannot_be_used(file: Path, content: bytes, complaint: str) -> None:
    file.write_bytes(content)
    with pytest.raises(UserError, match=complaint):
        read_stream(file, Filters())


def test_empty_lines_before_the_first_and_cells_beyond_the_last(file: Path, capsys: Told) -> None:
    file.write_text("\n\nuser_id,item_id\nu,i\nu,\nv,a title, with a comma\nv,i,\n")
    stream, skipped = read_stream(file, Filters())
    assert stream.user_ids == ["u", "v"] and stream.item_ids == ["i"] and skipped == 2
    assert "2 rows left out, the first: row 2: no item" in capsys.readouterr().err


def test_an_order_that_is_not_that_of_time_is_told(file: Path, capsys: Told) -> None:
    file.write_text("user,item,time\nu,a,1\nu,b,5\nv,a,2024-01-01\nv,b,2\nv,c,2024-01-02\n")
    read_stream(file, Filters())
    said = capsys.readouterr().err
    assert "NOT IN ORDER OF TIME: 1 rows are older" in said and "row 4: '2'" in said
    file.write_text("user,item,time\nu,a,1\nu,b,1\nv,a,2024-01-01\n")
    read_stream(file, Filters())
    assert capsys.readouterr().err == ""


def test_times_that_cannot_be_read_are_told(file: Path, capsys: Told) -> None:
    file.write_text("user,item,time\nu,a,11/14/2023 22:13\nu,b,\nv,a,7\n")
    stream, skipped = read_stream(file, Filters())
    assert stream.times.tolist() == [0, 0, 7] and skipped == 0
    assert "2 times cannot be read, the first: row 1: '11/14/2023 22:13'" in capsys.readouterr().err


def test_an_index_that_pandas_wrote_is_no_field(file: Path) -> None:
    file.write_text(",user_id,item_id,time,label\n0,u,a,1,negative\n1,v,b,2,positive\n")
    with RowFile(file) as rows:
        sent = list(Replay(rows, ReplayOptions()))
    assert [one.tenant for one in sent] == ["default", "default"]
    assert b'"id":"own.csv:1:' in sent[0].value
    stream, texts, _ = read_spike_stream(file, parse_spike_map("time=time,label=label"))
    assert stream.names == ("all",) and texts == ["", ""]


def test_tomorrows_file_of_the_same_name_is_not_a_repeat(tmp_path: Path) -> None:
    ids = []
    for day in ("1", "2", "1"):
        file = tmp_path / "views.csv"
        file.write_text(f"user,item,time\nu,a,{day}\nv,b,{day}\nw,c,7\n")
        with RowFile(file) as rows:
            ids.append([json.decode(one.value)["id"] for one in Replay(rows, ReplayOptions())])
    assert ids[0] == ids[2] and len({*ids[0], *ids[1]}) == 5  # one row is the same on both


def test_spikes_name_a_column_that_is_not_there(file: Path) -> None:
    file.write_text("at,label\n1,negative\n")
    with pytest.raises(UserError, match="no column 'time' for time; the file has 'at', 'label'"):
        read_spike_stream(file, parse_spike_map("time=time,label=label"))


def test_items_under_other_ids_are_told(file: Path, capsys: Told) -> None:
    tell_described(file, ["1", "2"], ["2", "3"])
    assert "describes 1 of 2 items" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"none of the items .* says '1', the interactions '1\.0'"):
        tell_described(file, ["1"], ["1.0"])


def test_labels_of_any_table(file: Path, tmp_path: Path) -> None:
    file.write_text("text;label\nvery good;1.0\nvery bad;0.0\n;1.0\n")
    comments, skipped, _ = _read(file, "text", "label", {}, "all")
    assert [comment.label for comment in comments] == [2, 0] and skipped == 1
    comments, _, _ = _read(file, "text", "label", _words("1.0=negative, 0=positive"), "all")
    assert [comment.label for comment in comments] == [0, 2]
    lines = tmp_path / "own.jsonl"
    lines.write_text('{"text": "ok", "label": 1}\n{"text": ["no"], "label": 0}\n')
    assert read_labelled(lines, "text", "label") == ([("ok", "1")], 1)
    file.write_text("text,label\n很好,1\n", "gb18030")
    assert read_labelled(file, "text", "label") == ([], 1)
    with pytest.raises(UserError, match="no column 'body' for text; the file has"):
        read_labelled(file, "body", "label")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("form", ["{};{}\n", "{}\t{}\n", '{{"text": "{}", "label": "{}"}}\n'])
def test_trainings_and_the_bench_read_what_replay_reads(
    tmp_path: Path, form: str, encoding: str
) -> None:
    path = tmp_path / ("mine.jsonl" if ":" in form else "mine.csv")
    rows = [(f"第 {n} 课, 很好", ("neg", "pos")[n % 2]) for n in range(200)]
    header = "" if path.suffix == ".jsonl" else form.format("text", "label")
    path.write_text(header + "".join(form.format(*row) for row in rows), encoding)
    (found,) = load_sets(path, read=read_pairs)
    assert found.two_class and len(found.train) + len(found.test) == 200
    (topics,) = load_topic_sets(path, read=read_pairs)
    assert (topics.name, topics.labels) == ("mine", ("neg", "pos"))
    assert read_texts(path, "text", 2) == [row[0] for row in rows[:2]]


def test_no_texts_are_told(file: Path) -> None:
    file.write_text("text,label\n ,1\n")
    with pytest.raises(UserError, match="no text in 'text'"):
        read_texts(file, "text", 9)


def test_periods_as_spreadsheets_write_them(file: Path, capsys: Told) -> None:
    head = "period,session_id,item_id,day\n"
    file.write_text(head + "1.0,a,x,2024-01-01\n1.0,a,y,2024-01-02 10:00\n2.0,b,x,2024-01-02\n")
    stream, skipped = read_sessions(file, "", needs_day=True)
    assert stream.periods.tolist() == [1, 1, 2] and skipped == 0
    assert (stream.days - stream.days[0]).tolist() == [0, 1, 1]
    file.write_text(head + f"first,a,x,1\n{10**22},a,x,1\n1,a,x,1\n")
    assert len(read_sessions(file, "", needs_day=True)[0]) == 1
    said = capsys.readouterr().err
    assert (
        "2 rows left out, the first: row 1: the period 'first' is no whole number or date" in said
    )
