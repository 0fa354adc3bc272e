"""Who is erased while his list is on its way: nothing in Redis names him afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.local.ports import free_port
from infra.serving import AsyncRedisTopKStore
from streams.events import Profile
from streams.outlet import Outgoing, Outlet
from streams.profiles import Profiles
from streams.recommend import Recommend
from streams.river import River
from tests.streams.test_lists_again import forgetful_valkey, taught

GONE, OTHER = "u0", "u1"


class NowhereOutlet(Outlet):
    """Kafka takes everything at once."""

    async def write(self, records: Sequence[Outgoing]) -> None:
        return


class House:
    """A worker's lists and profiles on a Valkey."""

    def __init__(self, store: AsyncRedisTopKStore) -> None:
        self.store = store
        self.river: River = taught(store)
        self.river.outlet = NowhereOutlet("kafka://127.0.0.1:9")
        self.recommend = Recommend(self.river)
        self.profiles = Profiles(self.river, self.recommend)
        self.writer = asyncio.create_task(self.recommend.run())

    async def erase(self, user: str) -> None:
        profile = Profile(user_id=user, tenant="t", deleted=True)
        await self.profiles.take(profile, self.river.partitions[0], 1, 1_000)

    async def listed(self, *users: str) -> None:
        self.recommend.enqueue(0, "t", users, [0] * len(users))
        await self.recommend.flushed()

    async def has_list(self, user: str) -> bool:
        return await self.store.read("t", user) is not None

    async def close(self) -> None:
        self.writer.cancel()
        await self.store.close()


@pytest.fixture
def port() -> int:
    return free_port()


async def house_on(port: int) -> House:
    return House(await AsyncRedisTopKStore.connect(f"redis://127.0.0.1:{port}/0"))


def test_who_waits_for_a_list_gets_none_and_is_not_named(tmp_path: Path, port: int) -> None:
    async def scenario() -> None:
        with forgetful_valkey(tmp_path, port):
            house = await house_on(port)
            house.recommend.enqueue(0, "t", [GONE, OTHER], [0, 0])
            await house.erase(GONE)
            await house.recommend.flushed()
            assert await house.store.recent("t") == [OTHER]
            assert not await house.has_list(GONE) and await house.has_list(OTHER)
            assert not house.river.learner("t").has(GONE, "u0-a")
            await house.close()

    asyncio.run(scenario())


def test_whose_list_is_being_written_is_not_named(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        with forgetful_valkey(tmp_path, port):
            house = await house_on(port)
            written, go_on = asyncio.Event(), asyncio.Event()
            write_many = house.store.write_many

            async def slow(*arguments: Any) -> list[bool]:
                found = await write_many(*arguments)
                written.set()
                await go_on.wait()
                return found

            monkeypatch.setattr(house.store, "write_many", slow)
            listing = asyncio.create_task(house.listed(GONE, OTHER))
            await written.wait()
            await house.erase(GONE)
            go_on.set()
            await listing
            assert await house.store.recent("t") == [OTHER]
            assert not await house.has_list(GONE)
            await house.close()

    asyncio.run(scenario())


def test_a_redis_that_lost_its_lists_does_not_get_his_again(tmp_path: Path, port: int) -> None:
    async def scenario() -> None:
        with forgetful_valkey(tmp_path, port):
            house = await house_on(port)
            await house.listed(GONE, OTHER)
            await house.erase(GONE)
        with forgetful_valkey(tmp_path, port):  # his tombstone is lost, too
            await house.listed("u2")
            await house.recommend.flushed()  # those that were asked for again
            assert await house.has_list(OTHER) and not await house.has_list(GONE)
            await house.close()

    asyncio.run(scenario())


def test_who_comes_back_is_a_new_user_with_a_list(tmp_path: Path, port: int) -> None:
    async def scenario() -> None:
        with forgetful_valkey(tmp_path, port):
            house = await house_on(port)
            house.recommend.enqueue(0, "t", [GONE], [0])
            await house.erase(GONE)
            state = house.river.partitions[0]
            assert state.buried == {"t/u0": 1}
            profile = Profile(user_id=GONE, tenant="t", interests=("a",))
            await house.profiles.take(profile, state, 2, 2_000)
            await house.recommend.flushed()
            assert await house.has_list(GONE) and await house.store.recent("t") == [GONE]
            assert not state.buried  # a null would take his new profile with it
            await house.close()

    asyncio.run(scenario())
