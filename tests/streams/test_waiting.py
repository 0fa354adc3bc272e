"""Who waits for a list, and who is listed first."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.ports import free_port
from infra.serving import AsyncRedisTopKStore
from streams.recommend import Recommend
from streams.waiting import Line, Touched
from tests.streams.test_lists_again import USERS, forgetful_valkey, taught

BEHIND = 60.0  # seconds of lag


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    with forgetful_valkey(tmp_path, port):
        yield f"redis://127.0.0.1:{port}/0"


def test_a_line_keeps_its_order_and_the_later_word() -> None:
    line = Line()
    line.add((("t", user, 0), Touched(1, at)) for user, at in (("a", 5), ("b", 6)))
    line.add((("t", user, 0), Touched(1, at)) for user, at in (("a", 7), ("c", 1)))
    assert line.joined == len(line) == 3
    assert line.take(2) == [(("t", "a", 0), Touched(1, 7)), (("t", "b", 0), Touched(1, 6))]
    assert [key for key, _ in line.take(9)] == [("t", "c", 0)]
    assert not line and line.done == 0


async def listed(store: Any) -> list[bool]:
    return [found is not None for found in await store.read_many("t", USERS)]


async def until_listed(store: Any, count: int) -> None:
    for _ in range(1_000):
        if sum(await listed(store)) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"fewer than {count} have a list")


def test_whose_event_came_just_now_does_not_wait_behind_a_backlog(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.recommend.CAUGHT_UP_SECONDS", math.inf)

    async def scenario() -> list[list[bool]]:
        store = await AsyncRedisTopKStore.connect(redis_url)
        recommend = Recommend(taught(store))
        writer = asyncio.create_task(recommend.run())
        recommend.enqueue(0, "t", USERS[:15], [1] * 15, BEHIND)
        await recommend.wake(BEHIND)
        await asyncio.sleep(0.05)
        found = [await listed(store)]
        recommend.enqueue(0, "t", USERS[15:], [1] * 5)
        await recommend.wake()
        await until_listed(store, 5)
        found.append(await listed(store))
        assert recommend.behind
        await recommend.flushed()
        found.append(await listed(store))
        assert not recommend.behind
        writer.cancel()
        await store.close()
        return found

    none, fresh, everybody = asyncio.run(scenario())
    assert none == [False] * 20
    assert fresh == [False] * 15 + [True] * 5
    assert everybody == [True] * 20


def test_a_backlog_that_is_over_needs_no_checkpoint(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.recommend.CAUGHT_UP_SECONDS", 0.1)

    async def scenario() -> None:
        store = await AsyncRedisTopKStore.connect(redis_url)
        recommend = Recommend(taught(store))
        writer = asyncio.create_task(recommend.run())
        recommend.enqueue(0, "t", USERS, [1] * 20, BEHIND)
        await recommend.wake(BEHIND)
        await recommend.wake()  # the last that comes
        await until_listed(store, 20)
        writer.cancel()
        await store.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))
