"""A Redis that comes back without its last lists gets them again, from the learner's state."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from infra.local.ports import answers, free_port
from infra.local.valkey import _binary
from infra.metrics import WorkerMetrics
from infra.pseudonym import Pseudonymiser
from infra.serving import AsyncRedisTopKStore
from infra.settings import Settings
from online.learner import Kind
from streams.components import Components
from streams.lists_again import MOST, SECONDS, Lately
from streams.partition import PartitionState
from streams.recommend import Recommend
from streams.river import River

USERS = [f"u{number}" for number in range(20)]


@contextmanager
def forgetful_valkey(folder: Path, port: int) -> Iterator[None]:
    """It keeps nothing on disk; killed at the end."""
    process = subprocess.Popen(
        [str(_binary()), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder),
         "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while not answers(port, b"PING\r\n", b"+PONG\r\n"):
        time.sleep(0.02)
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


def taught(store: Any) -> River:
    nowhere: Any = None
    river = River(
        Settings(), WorkerMetrics(CollectorRegistry()), store, nowhere, Pseudonymiser(b"1" * 32),
        nowhere, Components(archive=False),
    )  # fmt: skip
    river.partition_loaded(PartitionState(0, 1))
    kinds, items = np.full(3, Kind.CLICK, dtype=np.int8), ["a", "b", "c"]
    for user in USERS:
        river.learner("t").learn(
            0, [user] * 3, [f"{user}-{i}" for i in items], kinds, np.arange(3.0)
        )
    return river


def test_whoever_got_a_list_lately_gets_it_again(tmp_path: Path) -> None:
    port = free_port()

    async def scenario() -> list[Any]:
        with forgetful_valkey(tmp_path, port):
            store = await AsyncRedisTopKStore.connect(f"redis://127.0.0.1:{port}/0")
            recommend = Recommend(taught(store))
            writer = asyncio.create_task(recommend.run())
            recommend.enqueue(0, "t", USERS[:-1], [0] * len(USERS))
            await recommend.flushed()
            before = await store.read_many("t", USERS)
        with forgetful_valkey(tmp_path, port):
            recommend.enqueue(0, "t", USERS[-1:], [0])
            await recommend.flushed()
            await recommend.flushed()  # those that were asked for again
            after = await store.read_many("t", USERS)
            writer.cancel()
            await store.close()
        return [before, after]

    before, after = asyncio.run(scenario())
    assert [found is not None for found in before] == [True] * 19 + [False]
    assert all(found is not None and found.items for found in after)
    assert all(a.version > b.version for b, a in zip(before, after, strict=True) if b)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    lately = Lately()
    for number in range(MOST + 5):
        lately.note(("t", f"u{number}", 0), 1)
    assert len(lately.take()) == MOST and lately.take() == []
    lately.note(("t", "old", 0), 1)
    now = SECONDS + 1
    lately.note(("t", "new", 0), 2)
    assert lately.take() == [(("t", "new", 0), 2)]
