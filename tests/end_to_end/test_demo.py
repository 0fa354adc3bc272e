"""The main job, end to end: one command, real parts, books that balance, nothing left behind."""

from __future__ import annotations

import csv
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

StartDemo = Callable[..., Any]

KEYS = [
    "events_in",
    "learned",
    "duplicates",
    "ignored",
    "dead_lettered",
    "lists_written",
    "comments_scored",
    "alerts",
    "freshness_ms",
    "hr10",
    "balanced",
]


def write_events(path: Path, count: int) -> Path:
    """Clicks, purchases and comments of 40 users who walk along the items; some odd rows.

    Of every 100 rows: one repeats an id, one lies in the future, one has no item.
    """
    rng = random.Random(5)
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["id", "type", "user", "item", "time", "text"])
        for i in range(count):
            kind = "purchase" if i % 10 == 3 else "comment" if i % 50 == 7 else "click"
            name, at, item = f"e{i}", 1_700_000_000 + i, f"i{(i // 40 + rng.randrange(3)) % 30}"
            if i % 100 == 61:
                name = f"e{i - 40}"  # the same user's last event: one partition sees both
            if i % 100 == 34:
                at += 10_000_000_000
            if i % 100 == 55:
                item = ""
            out.writerow([name, kind, f"u{i % 40}", item, at, "Too slow, a waste of time."])
    return path


def listening(demo: Any) -> set[tuple[str, int]]:
    """Address and port of every TCP socket on which a process of the demo waits for others."""
    return {
        (connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port)
        for process in demo.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_the_simulation_on_tansu_shows_lists_and_an_alert(start_demo: StartDemo) -> None:
    began = time.monotonic()
    demo = start_demo("--broker", "tansu", "--for", "32")
    demo.says("page: http://127.0.0.1:")
    demo.says("ALERT")
    assert {address for address, _ in listening(demo)} == {"127.0.0.1"}
    assert time.monotonic() - began < 120  # 60 s on a machine that does nothing else
    ended = demo.end()
    assert ended.code == 0, ended.err[-3000:]
    summary = ended.summary
    assert list(summary) == KEYS
    assert summary["balanced"] is True
    assert summary["events_in"] > 2_000 and summary["lists_written"] > 1_000
    assert summary["comments_scored"] > 100 and summary["ignored"] > 0
    assert summary["hr10"]["springtide"] > summary["hr10"]["popularity"] > 0
    assert 0 < summary["freshness_ms"]["p50"] < summary["freshness_ms"]["p99"]
    assert any(alert["key"].startswith("item:") for alert in summary["alerts"])
    for alert in summary["alerts"]:
        assert alert["share"] > alert["baseline"] and alert["evidence"] > 0
        assert alert["started_at"] <= alert["raised_at"]
    assert demo.processes() == []


@pytest.mark.kafka
def test_a_file_on_the_real_kafka_is_accounted_for_to_the_last_row(
    start_demo: StartDemo, kafka_home: Path, tmp_path: Path
) -> None:
    """And the worker is killed on the way."""
    events = write_events(tmp_path / "events.csv", 3_000)
    demo = start_demo(
        "--broker", "kafka", "--events", str(events), "--speed", "300x", kafka_home=kafka_home
    )
    demo.says("page: http://127.0.0.1:")
    time.sleep(4)
    workers = [one for one in demo.processes() if "worker" in one.cmdline()]
    assert len(workers) == 1
    workers[0].send_signal(signal.SIGKILL)
    ended = demo.end()
    assert ended.code == 0, ended.err[-3000:]
    summary = ended.summary
    assert summary["balanced"] is True
    assert summary["events_in"] == 3_000 - 30  # a row without an item is no event
    assert "30 rows left out, the first: row 56: no item" in ended.err
    assert summary["dead_lettered"] == 30
    assert summary["duplicates"] == 30
    assert summary["learned"] == 3_000 - 30 - 30 - 30
    assert summary["comments_scored"] == 60
    assert demo.processes() == []


def test_a_lost_event_is_seen(start_demo: StartDemo, tmp_path: Path) -> None:
    events = write_events(tmp_path / "events.csv", 200)
    script = str(Path(__file__).with_name("forgetful_demo.py"))
    ended = start_demo(str(events), command=(sys.executable, script, "demo")).end()
    assert ended.code == 1, ended.err[-3000:]
    summary = ended.summary
    assert summary["balanced"] is False
    named = ("learned", "duplicates", "ignored", "dead_lettered")
    assert summary["events_in"] - sum(summary[name] for name in named) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing_behind(start_demo: StartDemo, number: signal.Signals) -> None:
    demo = start_demo("--broker", "tansu", "--for", "100")
    # Once while it starts, once while it runs.
    demo.says("starting" if number == signal.SIGINT else "page: ")
    time.sleep(1)
    assert len(demo.processes()) > 3
    demo.popen.send_signal(number)
    demo.popen.send_signal(number)
    ended = demo.end()
    assert ended.code == 128 + number and ended.out == ""
    assert "stopped" in ended.err and "Traceback" not in ended.err
    assert demo.processes() == []


def test_a_part_that_ends_for_good_ends_the_demo(start_demo: StartDemo) -> None:
    demo = start_demo("--broker", "tansu", "--for", "100")
    demo.says("page: ")
    broker = next(one for one in demo.processes() if "tansu" in one.name())
    broker.send_signal(signal.SIGKILL)  # memory only: nobody can start it again
    ended = demo.end()
    assert ended.code == 2
    assert "springtide: tansu ended for good" in ended.err.splitlines()[-1]
    assert demo.processes() == []


def test_a_folder_of_an_earlier_run_is_not_mixed_in(start_demo: StartDemo, tmp_path: Path) -> None:
    (tmp_path / "demo-0" / "checkpoints").mkdir(parents=True)
    ended = start_demo("--broker", "tansu").end()
    assert ended.code == 2 and "holds an earlier run" in ended.err
