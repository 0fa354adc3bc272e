"""Versions on the real Valkey: writers, owners and a watching reader at the same time."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import redis

from infra.serving import (
    AsyncRedisTopKStore,
    ListWrite,
    ProfileFlags,
    RedisTopKStore,
    StoredList,
)
from infra.settings import UserError

USERS = [f"u{i}" for i in range(5)]


def a_list(epoch: int, seq: int) -> StoredList:
    """Items and scores carry the version, so that a torn list would show."""
    mark = f"{epoch}-{seq}"
    return StoredList(1, (epoch, seq), seq, [mark] * 20, [float(seq)] * 20, mark, epoch)


def owner(url: str, tenant: str, seed: int, takeovers: int) -> None:
    """Take the partition over again and again; write in shuffled order, as a zombie may."""
    chance = random.Random(seed)
    store = RedisTopKStore.connect(url)
    for _ in range(takeovers):
        epoch = store.next_epoch(f"clicks-{tenant}", 0)
        sequences = list(range(1, 60))
        chance.shuffle(sequences)
        for start in range(0, len(sequences), 7):
            store.write_many(
                [
                    ListWrite(tenant, chance.choice(USERS), a_list(epoch, seq))
                    for seq in sequences[start : start + 7]
                ],
                60,
            )
    store.close()


def watch(url: str, tenant: str, stop: threading.Event, faults: list[str]) -> None:
    """Read all the time: no version goes back, no list is torn."""
    store = RedisTopKStore.connect(url)
    newest: dict[str, tuple[int, int]] = {}
    while not stop.is_set():
        for user, found in zip(USERS, store.read_many(tenant, USERS), strict=True):
            if found is None:
                continue
            if found.version < newest.get(user, (0, 0)):
                faults.append(f"{user}: {newest[user]} then {found.version}")
            if found != a_list(*found.version):
                faults.append(f"{user}: torn {found}")
            newest[user] = found.version
    store.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_versions_never_go_back_under_eight_writers_and_changes_of_owner(
    stack: Any, seed: int
) -> None:
    tenant = f"t-{uuid.uuid4().hex[:12]}"
    faults: list[str] = []
    stop = threading.Event()
    watchers = [
        threading.Thread(target=watch, args=(stack.redis_url, tenant, stop, faults))
        for _ in range(2)
    ]
    spawn = multiprocessing.get_context("spawn")
    processes = [
        spawn.Process(target=owner, args=(stack.redis_url, tenant, seed * 100 + i, 10))
        for i in range(4)
    ]
    threads = [
        threading.Thread(target=owner, args=(stack.redis_url, tenant, seed * 100 + i, 10))
        for i in range(4, 8)
    ]
    for part in [*watchers, *processes, *threads]:
        part.start()
    for part in [*processes, *threads]:
        part.join(60)
    stop.set()
    for watcher in watchers:
        watcher.join(10)
    assert [process.exitcode for process in processes] == [0] * 4
    assert faults == []


def test_a_zombie_with_a_fast_clock_loses_to_the_new_owner(stack: Any) -> None:
    tenant = f"t-{uuid.uuid4().hex[:12]}"
    zombie, heir = (RedisTopKStore.connect(stack.redis_url) for _ in range(2))
    old = zombie.next_epoch(f"clicks-{tenant}", 0)
    assert zombie.write_many([ListWrite(tenant, "u", a_list(old, 10**9))], 60) == [True]
    new = heir.next_epoch(f"clicks-{tenant}", 0)
    assert heir.write_many([ListWrite(tenant, "u", a_list(new, 1))], 60) == [True]
    assert zombie.write_many([ListWrite(tenant, "u", a_list(old, 10**10))], 60) == [False]
    assert heir.read(tenant, "u") == a_list(new, 1)
    zombie.close()
    heir.close()


def test_a_restarted_redis_that_forgot_the_scripts_is_taught_again(stack: Any) -> None:
    tenant = f"t-{uuid.uuid4().hex[:12]}"
    store = RedisTopKStore.connect(stack.redis_url)
    client = redis.Redis.from_url(stack.redis_url)
    client.script_flush()
    writes = [ListWrite(tenant, user, a_list(1, 1)) for user in USERS]
    assert store.write_many(writes, 60) == [True] * len(USERS)
    client.script_flush()
    assert store.write_many(writes, 60) == [False] * len(USERS)
    client.close()
    store.close()


def test_listeners_hear_an_alert(stack: Any) -> None:
    tenant = f"t-{uuid.uuid4().hex[:12]}"
    client = redis.Redis.from_url(stack.redis_url)
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(f"alerts:{tenant}")
    listener.get_message(timeout=5)
    store = RedisTopKStore.connect(stack.redis_url)
    store.publish_alert(tenant, b'{"key":"item:1"}')
    heard = listener.get_message(timeout=5)
    assert heard is not None and heard["data"] == b'{"key":"item:1"}'
    listener.close()
    client.close()
    store.close()


def test_an_unreachable_redis_is_one_line_without_the_password() -> None:
    with pytest.raises(UserError) as caught:
        RedisTopKStore.connect("redis://me:secret@127.0.0.1:1/0", timeout_seconds=1)
    line = str(caught.value)
    assert "redis://127.0.0.1:1 does not answer" in line and "springtide local" in line
    assert "secret" not in line and "\n" not in line


@pytest.mark.parametrize("url", ["http://x:1/0", "nonsense", "redis://:pa@ss@[bad/0"])
def test_an_unusable_url_is_one_line_without_the_password(url: str) -> None:
    with pytest.raises(UserError) as caught:
        RedisTopKStore.connect(url, timeout_seconds=1)
    assert "SPRINGTIDE_REDIS_URL" in str(caught.value) and "ss@" not in str(caught.value)


def test_of_two_changes_of_a_profile_neither_is_lost(stack: Any) -> None:
    """An opt-out that comes while interests are being stored, and an erasure likewise."""
    tenant = f"test-{uuid.uuid4().hex[:12]}"
    other = RedisTopKStore.connect(stack.redis_url)

    def change(meanwhile: Callable[[], None]) -> Callable[[ProfileFlags], ProfileFlags]:
        once = [meanwhile]

        def changed(before: ProfileFlags) -> ProfileFlags:
            if once:
                once.pop()()
            return ProfileFlags(before.personalise, interests=(*before.interests, "new"))

        return changed

    def opt_out() -> None:
        other.write_profile(tenant, "u", personalise=False, interests=["old"])

    async def scenario() -> list[ProfileFlags]:
        store = await AsyncRedisTopKStore.connect(stack.redis_url)
        other.write_profile(tenant, "u", interests=["secret"])
        erase = change(lambda: other.delete_user(tenant, "u"))
        erased = await store.change_profile(tenant, "u", erase)
        opted_out = await store.change_profile(tenant, "u", change(opt_out))
        await store.close()
        return [erased, opted_out]

    erased, opted_out = asyncio.run(scenario())
    assert erased == ProfileFlags(interests=("new",))
    assert opted_out == ProfileFlags(False, interests=("old", "new"))
    assert other.read_profile(tenant, "u") == opted_out
    other.write_many([ListWrite(tenant, "u", a_list(1, 1))], 60)
    assert other.read(tenant, "u") == a_list(1, 1)  # the tombstone was lifted
    other.close()
