"""`springtide evaluate sessions`: any file of its shape, and a slice of the real one."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import pytest

from infra.settings import UserError
from streams.cli import load
from streams.commands.evaluate_sessions import parse_sample, read_sessions

VISITS = 110_000  # of DIGINETICA: the first period, the second, and a little of the third


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two periods under other names, with a row that has no item."""
    file = tmp_path / "visits.csv"
    rows = ["week,visit,course"] + [f"1,a{n},c{k}" for n in range(9) for k in (1, 2)]
    rows += ["2,b,c1", "2,b,", "2,b,c2"]
    file.write_text("\n".join(rows))
    return file


@pytest.fixture(scope="module")
def diginetica(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its first lines."""
    file = tmp_path_factory.mktemp("sessions") / "events.csv"
    source = shared_dir / "data" / "rec-ader-diginetica" / "events.csv.gz"
    with gzip.open(source, "rt", encoding="utf-8") as lines:
        file.write_text("".join(itertools.islice(lines, VISITS + 1)))
    return file


def test_columns_of_any_name(small: Path, evaluated: Any) -> None:
    columns = "period=week,session=visit,item=course"
    found = evaluated("sessions", "--data", str(small), "--map", columns)
    assert (found["visits"], found["sessions"], found["items"], found["skipped"]) == (20, 10, 2, 1)
    assert found["methods"]["springtide"]["recall20"] == 1.0


def test_a_table_for_people(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = "period=week,session=visit,item=course"
    arguments = ["sessions", "--data", str(small), "--map", columns]
    load("evaluate").main(args=arguments, standalone_mode=False)
    assert "R@20" in capsys.readouterr().out


def test_what_cannot_be_used_is_said(small: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="which column is the day"):
        read_sessions(small, "period=week,session=visit,item=course", needs_day=True)
    with pytest.raises(UserError, match="no field 'user'"):
        read_sessions(small, "user=visit", needs_day=False)
    with pytest.raises(UserError, match="1/50"):
        parse_sample("50")
    back = tmp_path / "back.csv"
    back.write_text("period,session_id,item_id\n2,a,x\n1,a,y\n")
    with pytest.raises(UserError, match=r"row 2: period 1.*sort the file"):
        read_sessions(back, "", needs_day=False)
    back.write_text("period,session_id,item_id\n1,a,x\n1,a,y\n")
    with pytest.raises(UserError, match="one period at most"):
        load("evaluate").main(args=["sessions", "--data", str(back)], standalone_mode=False)


@pytest.mark.data
def test_the_start_of_diginetica(diginetica: Path, evaluated: Any) -> None:
    frozen, day = (
        evaluated("sessions", "--data", str(diginetica), "--mode", mode, "--sample", "1/10")
        for mode in ("frozen", "day")
    )
    for found in (frozen, day):
        assert found["methods"]["springtide"]["recall20"] > 0.40
        assert found["methods"]["springtide"]["mrr20"] > 0.14
