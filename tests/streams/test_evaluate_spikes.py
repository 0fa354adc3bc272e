"""`springtide evaluate spikes` on files as people have them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from infra.settings import UserError
from streams.commands.evaluate import app
from streams.spikes_file import parse_spike_map, read_spike_stream


def written(path: Path, lines: int = 400) -> Path:
    rng = np.random.default_rng(0)
    rows = [
        f"2026-01-{1 + i * 10 // lines:02d}T{i % 24:02d}:00,i{i % 3},{rng.integers(1, 6)},late {i}"
        for i in range(lines)
    ]
    path.write_text("when,course,stars,body\n" + "\n".join(rows) + "\n,,,\n")
    return path


def test_one_json_object_and_a_plot(tmp_path: Path) -> None:
    data, plot = written(tmp_path / "c.csv"), tmp_path / "p.html"
    columns = "time=when,key=course,rating=stars,text=body"
    options = [
        "--data",
        str(data),
        "--map",
        columns,
        "--replays",
        "2",
        "--plot",
        str(plot),
        "--json",
    ]
    result = CliRunner().invoke(app, ["spikes", *options])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.strip().splitlines()[-1])
    assert found["comments"] == 400 and found["skipped"] == 1 and found["keys"] == 3
    assert {"false_alarms_per_day", "upper95"} <= set(found["null"])
    assert {"recall", "precision", "delay_minutes", "delay_over_lorden"} <= set(found["injection"])
    assert "<svg" in plot.read_text()


def test_json_lines_words_and_probabilities(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"t": 1700000100, "s": "Negative"}\n{"t": 1700000000, "s": "positive"}\n')
    stream, _, skipped = read_spike_stream(path, parse_spike_map("time=t,label=s"))
    assert stream.negative.tolist() == [0.0, 1.0] and stream.names == ("all",) and not skipped
    path.write_text('{"t": 1, "p": 0.7}\n{"t": 2, "p": 7}\n')
    stream, _, skipped = read_spike_stream(path, parse_spike_map("time=t,negative=p"))
    assert stream.negative.tolist() == [0.7] and skipped == 1


@pytest.mark.parametrize("text", ["label=a", "time=t", "time=t,label=a,rating=b", "time", "x=y"])
def test_a_wrong_map_is_told(text: str) -> None:
    with pytest.raises(UserError):
        parse_spike_map(text)
