"""Faults: what a seed brings, what a line does, and two seeds on the real parts."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.proxy import Proxies
from infra.settings import UserError
from streams.chaos import STRANGERS, ChaosOptions
from streams.chaos_plan import FEWEST, LONGEST, MOST, TARGETS, Fault, plan, spoken
from streams.commands.chaos import parse_seeds
from streams.simulate import START, simulate

OUTCOMES = Path(__file__).with_name("outcomes.jsonl")


@given(st.integers(0, 10_000))
def test_a_seed_is_a_plan(seed: int) -> None:
    faults = plan(seed, 30)
    assert faults == plan(seed, 30)
    assert FEWEST <= len(faults) <= MOST
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
    for number, fault in enumerate(faults):
        assert fault.kind in TARGETS[fault.target] and fault.seconds <= LONGEST
        assert all(
            earlier.target != fault.target or earlier.end <= fault.at for earlier in faults[:number]
        ), "it hits what is paused"


def test_every_target_is_hit_in_every_way() -> None:
    met = {(fault.target, fault.kind) for seed in range(200) for fault in plan(seed, 30)}
    assert met == {(target, kind) for target, kinds in TARGETS.items() for kind in kinds}


def test_the_nodes_of_a_cluster_are_hit_one_by_one() -> None:
    met = {fault.target for seed in range(100) for fault in plan(seed, 30, nodes=3)}
    assert met == (TARGETS.keys() - {"kafka"}) | {"kafka-1", "kafka-2", "kafka-3"}


def test_days_go_by_after_the_last_run_or_events_are_of_now() -> None:
    days = ChaosOptions(swing=0.4).platform(seed=7, number=2, after=START)
    assert days.start > START and days.speed > 1_000 and days.swing == 0.4
    began = time.time()
    now = ChaosOptions(swing=0.4, live=True).platform(seed=7, number=2, after=START)
    assert now.first_user == days.first_user == 2 * STRANGERS
    interactions = (each.at for each in simulate(now) if each.is_interaction)
    seconds = [next(interactions) - began for _ in range(500)]
    assert seconds[0] >= 0 and 0.5 < seconds[-1] < 2.0, "at 500 a second"


def test_faults_can_be_said() -> None:
    assert spoken("pause worker at 8 for 3.5, kill kafka-2 at 5", nodes=3) == [
        Fault(5.0, "kafka-2", "kill", 0.0),
        Fault(8.0, "worker", "pause", 3.5),
    ]
    for wrong in (
        "kill kafka-2 at 5",
        "pause worker at 8",
        "kill worker at 5 for 2",
        "stall worker",
    ):
        with pytest.raises(UserError, match="say 'kill worker at 5'"):
            spoken(wrong)


def test_seeds_are_numbers_and_ranges() -> None:
    assert parse_seeds("3, 5,8-10,9") == [3, 5, 8, 9, 10]
    with pytest.raises(UserError, match="numbers and ranges"):
        parse_seeds("3-x")


class Echo:
    """A server that says what it hears, in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        import threading

        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        started = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self.loop
        )
        self.port: int = started.result(5).sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1_000):
            writer.write(chunk)
        writer.close()


def test_a_line_passes_waits_stands_still_and_breaks() -> None:
    echo, proxies = Echo(), Proxies()
    port = proxies.line("echo", "127.0.0.1", echo.port)
    assert proxies.line("echo", "127.0.0.1", echo.port) == port
    with closing(socket.create_connection(("127.0.0.1", port), 5)) as client:
        client.settimeout(5)
        client.sendall(b"a")
        assert client.recv(9) == b"a"
        proxies.set("echo", "delay")
        began = time.monotonic()
        client.sendall(b"b")
        assert client.recv(9) == b"b" and time.monotonic() - began > 0.3, "there and back"
        proxies.set("echo", "stall")
        client.sendall(b"c")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(9)
        proxies.set("echo", "pass")
        client.settimeout(5)
        assert client.recv(9) == b"c", "what was sent comes when the line lives again"
        proxies.set("echo", "reset")
        with pytest.raises(ConnectionError):
            if not client.recv(9):
                raise ConnectionError
    with closing(socket.create_connection(("127.0.0.1", port), 5)) as client:
        client.settimeout(5)
        with pytest.raises(ConnectionError):
            if not client.recv(9):
                raise ConnectionError
    proxies.stop()


def held(outcome: dict[str, Any]) -> bool:
    verdict = outcome["verdict"]
    return not (
        outcome["stuck"] or verdict["lost"] or verdict["doubled"] or verdict["stale"]
        or verdict["alerts_doubled"] or verdict["dead_lettered"]
    )  # fmt: skip


def chaos(kafka_home: Path, *arguments: str, timeout: float = 580) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "chaos", "--json", *arguments],
        capture_output=True, text=True, check=False, timeout=timeout,
        env={**os.environ, "KAFKA_HOME": str(kafka_home)},
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled(kafka_home: Path, tmp_path: Path) -> None:
    seeds = ("--seeds", "1,2", "--rounds", "2", "--out", str(tmp_path / "outcomes.jsonl"))
    outcomes = chaos(kafka_home, *seeds, "--rate", "800")
    assert [outcome["seed"] for outcome in outcomes] == [1, 2]
    for outcome in outcomes:
        assert outcome["verdict"]["events"] >= 20_000
        # How soon lists are fresh is a time, and times are held where the machine is quiet.
        assert held(outcome), outcome
    # The house stands until a run does not hold, and late lists are a reason, too.
    assert outcomes[1]["round"] == int(outcomes[0]["ok"]), outcomes
    assert chaos(kafka_home, *seeds, timeout=60) == [], "a seed that was run is not run again"


def test_every_outcome_that_is_kept_held() -> None:
    rows = [json.loads(line) for line in OUTCOMES.read_text("utf-8").splitlines()]
    assert len({row["seed"] for row in rows}) == len(rows)
    assert all(row["verdict"]["events"] >= 20_000 and len(row["faults"]) >= 3 for row in rows)
    assert rows and all(held(row) and row["ok"] for row in rows), "fresh again within 30 s as well"
