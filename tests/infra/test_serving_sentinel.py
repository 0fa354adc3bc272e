"""Real Valkeys and Sentinels: the master is killed, a replica takes over, lists go on."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from infra.local.ports import answers, free_port
from infra.local.valkey import _binary
from infra.serving import AsyncRedisTopKStore, ListWrite, RedisTopKStore, StoredList
from infra.settings import UserError

DOWN_MS = 500


class Cluster(Struct):
    """A master, a replica, three Sentinels; by port."""

    processes: dict[int, subprocess.Popen[bytes]]
    master: int
    replica: int
    sentinels: list[int]

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"redis+sentinel://{places}/lists/0"


def ask(port: int, command: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(command.encode() + b"\r\n")
        return line.recv(65_536).decode()


def until_said(port: int, command: str, wanted: str) -> None:
    """Wait until the server answers so."""
    until = time.monotonic() + 20
    while not answers(port, b"PING\r\n", b"+PONG\r\n") or wanted not in ask(port, command):
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    ports = [free_port() for _ in range(5)]
    master, replica, *sentinels = ports
    processes = {}
    for port in ports:
        folder = tmp_path / str(port)
        folder.mkdir()
        lines = [f"port {port}", "bind 127.0.0.1", f"dir {folder}"]
        if port in sentinels:
            lines += [
                f"sentinel monitor lists 127.0.0.1 {master} 2",
                f"sentinel down-after-milliseconds lists {DOWN_MS}",
                "sentinel failover-timeout lists 3000",
            ]
        else:
            lines += ['save ""', "appendonly yes", "repl-diskless-sync-delay 0"]
            lines += [f"replicaof 127.0.0.1 {master}"] if port == replica else []
        (folder / "conf").write_text("\n".join(lines) + "\n")
        more = ["--sentinel"] if port in sentinels else []
        processes[port] = subprocess.Popen(
            [str(_binary()), str(folder / "conf"), *more], stdout=subprocess.DEVNULL
        )
        if port == replica:  # a Sentinel looks at once, and then every ten seconds
            until_said(replica, "INFO replication", "master_link_status:up")
    for port in sentinels:
        until_said(port, "INFO sentinel", "slaves=1,sentinels=3")
    yield Cluster(processes, master, replica, sentinels)
    for process in processes.values():
        process.kill()
        process.wait(10)


def write(number: int) -> ListWrite:
    return ListWrite("t", f"u{number}", StoredList(1, (1, number + 1), 0, ["a"], [1.0], "blend", 0))


def test_the_master_is_killed_and_lists_go_on(cluster: Cluster) -> None:
    async def scenario() -> tuple[float, list[bool]]:
        store = await AsyncRedisTopKStore.connect(cluster.url, 1.0)
        assert await store.write_many([write(n) for n in range(100)], 60) == [True] * 100
        await asyncio.sleep(0.2)  # what a replica was told before it matters
        connects = store.connects
        cluster.processes[cluster.master].kill()
        killed, number = time.monotonic(), 100
        while True:
            try:
                await store.write_many([write(number)], 60)
                break
            except store.transient_errors:
                assert time.monotonic() - killed < 20
                await asyncio.sleep(0.05)
        away = time.monotonic() - killed
        assert store.connects > connects  # upon which the worker writes its latest lists again
        found = await store.read_many("t", [f"u{n}" for n in range(101)])
        await store.close()
        return away, [one is not None for one in found]

    away, found = asyncio.run(scenario())
    assert found == [True] * 101
    assert "role:master" in ask(cluster.replica, "INFO replication")
    assert away < 15
    print(f"written again {away:.1f} s after the kill")
    other = RedisTopKStore.connect(cluster.url)  # who comes later finds the new one at once
    assert other.read("t", "u100") is not None
    other.close()


def test_what_cannot_be_reached_is_said_without_the_password() -> None:
    with pytest.raises(UserError, match=r"Redis lists of the Sentinels 127\.0\.0\.1:9") as told:
        RedisTopKStore.connect("redis+sentinel://u:secret@127.0.0.1:9/lists", 0.2)
    assert "secret" not in str(told.value)
    with pytest.raises(UserError, match="not usable"):
        RedisTopKStore.connect("redis+sentinel://u:secret@127.0.0.1:9", 0.2)
