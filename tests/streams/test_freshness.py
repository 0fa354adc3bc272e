"""The witness of freshness, against a real Valkey and a writer whose delays are known."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from infra.local.ports import free_port
from infra.local.supervisor import Supervisor
from infra.local.valkey import valkey_part
from infra.serving import ListWrite, RedisTopKStore, StoredList
from streams.freshness import FreshnessWatch


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    folder = tmp_path_factory.mktemp("valkey")
    with Supervisor(folder / "logs") as supervisor:
        supervisor.start(*valkey_part(folder, port))
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture
def store(url: str) -> Iterator[RedisTopKStore]:
    connected = RedisTopKStore.connect(url)
    yield connected
    connected.close()


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex[:12]


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[FreshnessWatch]:
    watch = FreshnessWatch(url)
    await watch.start()
    yield watch
    await watch.stop(0)


def write(store: RedisTopKStore, tenant: str, user: str, seq: int) -> None:
    stored = StoredList(1, (1, seq), 0, ["a"], [1.0], "blend", 0)
    assert store.write_many([ListWrite(tenant, user, stored)], 60) == [True]


def test_it_measures_from_the_send_to_the_new_list(
    url: str, store: RedisTopKStore, tenant: str
) -> None:
    async def scenario() -> None:
        async with watching(url) as watch:
            write(store, tenant, "known", 1)
            began = time.monotonic()
            for user, seq in (("known", 2), ("new", 1)):
                await watch.before_send(tenant, user)
                await asyncio.sleep(0.05)
                await asyncio.to_thread(write, store, tenant, user, seq)
            summary = await watch.stop()
            took_ms = 1_000 * (time.monotonic() - began)
        assert (summary.count, summary.unanswered) == (2, 0)
        assert 50 <= summary.p50_ms <= summary.p99_ms <= summary.max_ms < took_ms

    asyncio.run(scenario())


def test_a_share_of_the_events_is_followed(url: str, tenant: str) -> None:
    async def scenario() -> None:
        watch = FreshnessWatch(url, share=0.2)
        await watch.start()
        for number in range(200):
            await watch.before_send(tenant, f"user-{number}")
        summary = await watch.stop(0)
        assert 20 <= summary.count + summary.unanswered <= 60

    asyncio.run(scenario())


def test_a_list_that_did_not_change_is_no_answer(
    url: str, store: RedisTopKStore, tenant: str
) -> None:
    async def scenario() -> None:
        async with watching(url) as watch:
            write(store, tenant, "u", 3)
            await watch.before_send(tenant, "u")
            summary = await watch.stop(0.1)
        assert (summary.count, summary.unanswered) == (0, 1)
        assert math.isnan(summary.p50_ms)

    asyncio.run(scenario())


def test_only_clean_probes_count(url: str, store: RedisTopKStore, tenant: str) -> None:
    """A user whose earlier list is still under way, or who gets none, would tell nothing."""

    async def scenario() -> None:
        async with watching(url) as watch:
            store.write_profile(tenant, "private", personalise=False)
            await watch.before_send(tenant, "private")
            await watch.before_send(tenant, "busy")
            write(store, tenant, "busy", 1)
            await asyncio.sleep(0.05)
            await watch.before_send(tenant, "busy")
            write(store, tenant, "busy", 2)
            summary = await watch.stop()
        assert (summary.count, summary.unanswered) == (1, 0)

    asyncio.run(scenario())


def test_many_users_at_once_are_bounded(url: str, tenant: str) -> None:
    async def scenario() -> None:
        async with watching(url) as watch:
            for i in range(200):
                await watch.before_send(tenant, f"u{i}")
            summary = await watch.stop(0)
        assert summary.unanswered == 64

    asyncio.run(scenario())


def test_a_warm_up_is_forgotten(url: str, store: RedisTopKStore, tenant: str) -> None:
    async def scenario() -> None:
        async with watching(url) as watch:
            await watch.before_send(tenant, "u")
            write(store, tenant, "u", 1)
            await asyncio.sleep(0.05)
            watch.reset()
            assert watch.summary().count == 0

    asyncio.run(scenario())


def test_a_sender_that_is_cancelled_ends(url: str, tenant: str) -> None:
    """redis-py's own socket timeout swallowed a cancellation now and then: `--for` had no end."""

    async def send_for_ever(watch: FreshnessWatch) -> None:
        number = 0
        while True:
            watch.reset()
            number += 1
            await watch.before_send(tenant, f"u{number}")

    async def scenario() -> None:
        async with watching(url) as watch:
            for attempt in range(300):
                task = asyncio.create_task(send_for_ever(watch))
                for _ in range(attempt % 12):
                    await asyncio.sleep(0)
                task.cancel()
                done, _ = await asyncio.wait({task}, timeout=5)
                assert done, f"attempt {attempt}"

    asyncio.run(scenario())


def test_sending_goes_on_without_redis(tmp_path: Path) -> None:
    async def scenario(url: str, supervisor: Supervisor) -> None:
        async with watching(url) as watch:
            await watch.before_send("default", "first")
            supervisor.stop()
            started = time.perf_counter()
            for i in range(5):
                await watch.before_send("default", f"u{i}")
            assert time.perf_counter() - started < 2
            assert (await watch.stop(0)).unanswered == 1

    port = free_port()
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(*valkey_part(tmp_path, port))
        asyncio.run(scenario(f"redis://127.0.0.1:{port}/0", supervisor))
