"""One behaviour suite, every top-K store: memory, the synchronous and the asynchronous Redis."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import redis

from infra.serving import (
    AsyncRedisTopKStore,
    ListWrite,
    MemoryTopKStore,
    RedisTopKStore,
    StoredList,
    TopKStore,
)


class _Awaited:
    """The asynchronous store as the suite calls it: every coroutine awaited at once."""

    def __init__(self, runner: asyncio.Runner, store: AsyncRedisTopKStore) -> None:
        self._runner, self._store = runner, store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return lambda *args, **named: self._runner.run(method(*args, **named))


@pytest.fixture(params=["memory", "redis", "asyncio"])
def store(request: pytest.FixtureRequest) -> Iterator[TopKStore]:
    if request.param == "memory":
        yield MemoryTopKStore()
        return
    url = request.getfixturevalue("stack").redis_url
    if request.param == "redis":
        connected = RedisTopKStore.connect(url)
        yield connected
        connected.close()
        return
    with asyncio.Runner() as runner:
        awaited = _Awaited(runner, runner.run(AsyncRedisTopKStore.connect(url)))
        yield awaited  # type: ignore[misc]
        awaited.close()


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


def a_list(epoch: int = 1, seq: int = 1, items: tuple[str, ...] = ("a", "b")) -> StoredList:
    scores = [1.0 / (i + 1) for i in range(len(items))]
    return StoredList(1, (epoch, seq), 1_700_000_000_000, list(items), scores, "blend", 7)


def write(store: TopKStore, tenant: str, user: str, stored: StoredList, ttl: float = 60) -> bool:
    return store.write_many([ListWrite(tenant, user, stored)], ttl)[0]


def test_a_list_comes_back_as_it_was_written(store: TopKStore, tenant: str) -> None:
    stored = a_list(3, 9, ("课程:1", "b{x}", "c d\n"))
    assert write(store, tenant, "用户 1", stored)
    assert store.read(tenant, "用户 1") == stored


def test_nobody_has_no_list(store: TopKStore, tenant: str) -> None:
    assert store.read(tenant, "nobody") is None
    assert store.popular(tenant) is None
    assert store.read_many(tenant, []) == []
    assert store.write_many([], 60) == []


@pytest.mark.parametrize(
    ("later", "taken"),
    [((1, 6), True), ((2, 1), True), ((1, 5), False), ((1, 4), False), ((0, 99), False)],
)
def test_only_a_greater_version_replaces(
    store: TopKStore, tenant: str, later: tuple[int, int], taken: bool
) -> None:
    first, second = a_list(1, 5), a_list(*later, items=("z",))
    assert write(store, tenant, "u", first)
    assert write(store, tenant, "u", second) is taken
    assert store.read(tenant, "u") == (second if taken else first)


def test_versions_beyond_32_bits_are_ordered(store: TopKStore, tenant: str) -> None:
    assert write(store, tenant, "u", a_list(2**40, 2**45))
    assert not write(store, tenant, "u", a_list(2**40, 2**45 - 1))
    assert write(store, tenant, "u", a_list(2**40, 2**45 + 1))


def test_a_batch_answers_for_each_write(store: TopKStore, tenant: str) -> None:
    assert write(store, tenant, "b", a_list(5, 5))
    batch = [ListWrite(tenant, user, a_list(1, 1)) for user in ("a", "b", "c")]
    assert store.write_many(batch, 60) == [True, False, True]
    found = store.read_many(tenant, ["c", "nobody", "b"])
    assert [stored and stored.version for stored in found] == [(1, 1), None, (5, 5)]


def test_tenants_do_not_meet(store: TopKStore, tenant: str) -> None:
    assert write(store, tenant, "u", a_list(9, 9))
    assert write(store, f"{tenant}x", "u", a_list(1, 1, ("other",)))
    other = store.read(f"{tenant}x", "u")
    assert other is not None and other.items == ["other"]


def test_a_list_expires_and_then_any_version_is_taken(store: TopKStore, tenant: str) -> None:
    assert write(store, tenant, "u", a_list(5, 5), ttl=0.05)
    time.sleep(0.1)
    assert store.read(tenant, "u") is None
    assert write(store, tenant, "u", a_list(1, 1))


def test_a_write_without_expiry_is_refused(store: TopKStore, tenant: str) -> None:
    with pytest.raises(ValueError, match="ttl_seconds"):
        write(store, tenant, "u", a_list(), ttl=0)


def test_the_popular_list_is_guarded_too(store: TopKStore, tenant: str) -> None:
    assert store.write_popular(tenant, a_list(2, 1))
    assert not store.write_popular(tenant, a_list(1, 9, ("old",)))
    assert store.popular(tenant) == a_list(2, 1)


def test_a_popular_list_may_expire(store: TopKStore, tenant: str) -> None:
    assert store.write_popular(tenant, a_list(2, 1), 0.05)
    time.sleep(0.1)
    assert store.popular(tenant) is None


def test_every_epoch_is_greater_than_the_last(store: TopKStore, tenant: str) -> None:
    epochs = [store.next_epoch(f"clicks-{tenant}", 3) for _ in range(5)]
    assert epochs == [1, 2, 3, 4, 5]
    assert store.next_epoch(f"clicks-{tenant}", 4) == 1


def test_an_epoch_is_above_what_is_known_from_elsewhere(store: TopKStore, tenant: str) -> None:
    topic = f"clicks-{tenant}"
    epochs = [store.next_epoch(topic, 3, above) for above in (0, 57, 57, 3, 2**40, 0)]
    assert epochs == [1, 58, 59, 60, 2**40 + 1, 2**40 + 2]


def test_profiles_default_to_personal(store: TopKStore, tenant: str) -> None:
    assert store.read_profile(tenant, "nobody").personalise
    store.write_profile(tenant, "u", personalise=False, interests=["数据", "python"])
    flags = store.read_profile(tenant, "u")
    assert (flags.personalise, flags.interests) == (False, ("数据", "python"))


def test_recent_users_are_bounded_and_unique(store: TopKStore, tenant: str) -> None:
    store.note_recent([(tenant, f"u{i}") for i in range(150)] + [(tenant, "u120")])
    recent = store.recent(tenant)
    assert recent[:3] == ["u120", "u149", "u148"]
    assert len(recent) == len(set(recent)) == 100
    assert store.recent(f"{tenant}x") == []


def test_a_deleted_user_stays_deleted_while_lists_are_in_flight(
    store: TopKStore, tenant: str
) -> None:
    write(store, tenant, "u", a_list(1, 1))
    store.write_profile(tenant, "u", interests=["x"])
    store.note_recent([(tenant, "u"), (tenant, "v")])
    store.delete_user(tenant, "u")
    assert not write(store, tenant, "u", a_list(7, 7))
    assert store.read(tenant, "u") is None
    assert store.read_many(tenant, ["u"]) == [None]
    assert store.read_profile(tenant, "u").interests == ()
    assert store.recent(tenant) == ["v"]


def test_a_deleted_user_who_registers_again_is_served_again(store: TopKStore, tenant: str) -> None:
    store.delete_user(tenant, "u")
    store.write_profile(tenant, "u", interests=["x"])
    assert write(store, tenant, "u", a_list(1, 1))
    store.write_profile(tenant, "u", interests=["y"])
    assert store.read(tenant, "u") == a_list(1, 1)


def test_a_foreign_reader_reads_a_list(stack: Any, tenant: str) -> None:
    """Ten lines of redis-py and msgpack: nothing of ours."""
    ours = RedisTopKStore.connect(stack.redis_url)
    write(ours, tenant, "42", a_list(4, 2, ("x", "y", "z")))

    client = redis.Redis.from_url(stack.redis_url)
    raw = client.get(f"topk:{tenant}:42") or client.get(f"popular:{tenant}")
    layout, (epoch, seq), watermark_ms, items, scores, policy, seed, *_later = msgpack.unpackb(raw)
    assert layout == 1 and (epoch, seq) == (4, 2) and watermark_ms == 1_700_000_000_000
    assert items == ["x", "y", "z"] and scores[0] == 1.0 and (policy, seed) == ("blend", 7)
    assert 0 < client.pttl(f"topk:{tenant}:42") <= 60_000
    client.close()
    ours.close()


def test_what_a_later_version_appends_is_ignored(stack: Any, tenant: str) -> None:
    client = redis.Redis.from_url(stack.redis_url)
    later = [1, [8, 1], 5, ["a"], [0.5], "blend", 0, [[0, 0.25]], [["a", "b"]], {"x": 1}, [1, 2]]
    client.set(f"topk:{tenant}:u", msgpack.packb(later))
    ours = RedisTopKStore.connect(stack.redis_url)
    assert ours.read(tenant, "u") == StoredList(
        1, (8, 1), 5, ["a"], [0.5], "blend", 0, [(0, 0.25)], [("a", "b")]
    )
    assert not write(ours, tenant, "u", a_list(8, 0))
    assert write(ours, tenant, "u", a_list(8, 2))
    client.close()
    ours.close()


@pytest.mark.parametrize("junk", [b"", b"x", b"not msgpack", b"\x97\x01\xc1" + b"\xff" * 40])
def test_junk_under_a_key_reads_as_nothing_and_is_replaced(
    stack: Any, tenant: str, junk: bytes
) -> None:
    client = redis.Redis.from_url(stack.redis_url)
    client.set(f"topk:{tenant}:u", junk)
    ours = RedisTopKStore.connect(stack.redis_url)
    assert ours.read(tenant, "u") is None
    assert write(ours, tenant, "u", a_list())
    assert ours.read(tenant, "u") == a_list()
    client.close()
    ours.close()


def test_numbers_are_added_up_by_name(store: TopKStore, tenant: str) -> None:
    assert store.count(tenant, {}, ["v:a", "v:课程"]) == [0, 0]
    assert store.count(tenant, {"v:a": 2, "v:课程": 5}, ["v:a"]) == [2]
    assert store.count(tenant, {"v:a": 1}, ["v:课程", "v:a"]) == [5, 3]
    assert store.count(f"{tenant}x", {"v:a": 1}, []) == []
    assert store.count(tenant, {}, []) == []
