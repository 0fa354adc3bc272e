"""The top-K store in Redis or Valkey: for tools, and as coroutines for the worker and the API.

Both send the commands of `serving_commands`. A write is a Lua guard around one SET, so a list is
never torn, and of two owners of a partition the one with the greater epoch wins. A command never
spans two keys; on a Redis Cluster the pipelines still need a client that routes by slot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from infra import serving_commands as ask
from infra.serving_commands import Command, Request
from infra.serving_connect import async_redis_client, redis_client, unreachable
from infra.serving_lists import (
    ListWrite,
    ProfileFlags,
    StoredList,
    TopKStore,
    decode_profile,
)
from infra.serving_memory import MemoryTopKStore

__all__ = [
    "AsyncRedisTopKStore",
    "ListWrite",
    "MemoryTopKStore",
    "ProfileFlags",
    "RedisTopKStore",
    "StoredList",
    "TopKStore",
]

CONNECT_SECONDS = 5.0
Answer = TypeVar("Answer")
LOAD_SCRIPTS: list[Command] = [("SCRIPT", "LOAD", script.text) for script in ask.SCRIPTS]


def _client_arguments(timeout_seconds: float, retry: Any) -> dict[str, Any]:
    from redis.backoff import NoBackoff

    return {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": retry(NoBackoff(), 1),  # once, for a connection that had gone stale
        "client_name": "springtide",
    }


def transient_errors() -> tuple[type[Exception], ...]:
    """What may go away by itself: Redis away, restarting, loading, full, or handing over."""
    from redis import exceptions

    return (
        OSError,
        exceptions.ConnectionError,  # BusyLoadingError is one
        exceptions.TimeoutError,
        exceptions.OutOfMemoryError,
        exceptions.ReadOnlyError,
        exceptions.TryAgainError,
    )


def _unloaded(answers: Sequence[Any]) -> list[int]:
    """Indices of commands whose script the server does not know (it was restarted)."""
    from redis.exceptions import NoScriptError

    return [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]


def _checked(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


class RedisTopKStore:
    """TopKStore on a connection pool; thread-safe. Make one with `connect`.

    Attributes:
        transient_errors: after these the same call may be made again, without harm.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.transient_errors = transient_errors()

    @classmethod
    def connect(cls, url: str, timeout_seconds: float = CONNECT_SECONDS) -> RedisTopKStore:
        """Connect to a URL as `serving_connect` has them.

        Raises:
            UserError: nothing answers there, or it refuses us.
        """
        import redis
        from redis.retry import Retry

        try:
            client = redis_client(url, **_client_arguments(timeout_seconds, Retry))
            client.ping()
        except (redis.RedisError, OSError, ValueError) as error:
            unreachable(url, error)
        return cls(client)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _run(self, request: Request[Answer]) -> Answer:
        answers = self._send(request.commands)
        unloaded = _unloaded(answers)
        if unloaded:
            self._send(LOAD_SCRIPTS)
            again = self._send([request.commands[i] for i in unloaded])
            for i, answer in zip(unloaded, again, strict=True):
                answers[i] = answer
        return request.meaning(_checked(answers))

    def _send(self, commands: Sequence[Command]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        answers: list[Any] = pipeline.execute(raise_on_error=False)
        return answers

    def write_many(self, writes: Sequence[ListWrite], ttl_seconds: float) -> list[bool]:
        return self._run(ask.write_many(writes, ttl_seconds))

    def read(self, tenant: str, user: str) -> StoredList | None:
        return self._run(ask.read(tenant, user))

    def read_many(self, tenant: str, users: Sequence[str]) -> list[StoredList | None]:
        return self._run(ask.read_many(tenant, users))

    def write_popular(
        self, tenant: str, list: StoredList, ttl_seconds: float | None = None
    ) -> bool:
        return self._run(ask.write_popular(tenant, list, ttl_seconds))

    def popular(self, tenant: str) -> StoredList | None:
        return self._run(ask.popular(tenant))

    def next_epoch(self, topic: str, partition: int, above: int = 0) -> int:
        return self._run(ask.next_epoch(topic, partition, above))

    def publish_alert(self, tenant: str, payload: bytes) -> None:
        return self._run(ask.publish_alert(tenant, payload))

    def note_recent(self, users: Sequence[tuple[str, str]]) -> None:
        return self._run(ask.note_recent(users))

    def recent(self, tenant: str) -> list[str]:
        return self._run(ask.recent(tenant))

    def count(self, tenant: str, added: Mapping[str, int], wanted: Sequence[str]) -> list[int]:
        return self._run(ask.count(tenant, added, wanted))

    def write_profile(
        self, tenant: str, user: str, *, personalise: bool = True, interests: Sequence[str] = ()
    ) -> None:
        return self._run(ask.write_profile(tenant, user, personalise, interests))

    def read_profile(self, tenant: str, user: str) -> ProfileFlags:
        return self._run(ask.read_profile(tenant, user))

    def delete_user(self, tenant: str, user: str) -> None:
        return self._run(ask.delete_user(tenant, user))


class AsyncRedisTopKStore:
    """The methods of TopKStore as coroutines. Make one with `connect`.

    Attributes:
        transient_errors: after these the same call may be made again, without harm.
        connects: how often a connection was made: after one more, Redis may be another one.
    """

    def __init__(self, connect: Callable[..., Any], timeout_seconds: float) -> None:
        from infra.serving_pipe import Pipe

        self.connects = 0
        self._client = connect(redis_connect_func=self._connected)
        self._pipe = Pipe(self._client, timeout_seconds)
        self.transient_errors = transient_errors()

    @classmethod
    async def connect(
        cls, url: str, timeout_seconds: float = CONNECT_SECONDS
    ) -> AsyncRedisTopKStore:
        """Connect to a URL as `serving_connect` has them.

        Raises:
            UserError: nothing answers there, or it refuses us.
        """
        from redis import RedisError
        from redis.asyncio.retry import Retry

        arguments = _client_arguments(timeout_seconds, Retry)
        try:
            store = cls(partial(async_redis_client, url, **arguments), timeout_seconds)
            await store._client.ping()
        except (RedisError, OSError, ValueError) as error:
            unreachable(url, error)
        return store

    async def _connected(self, connection: Any) -> None:
        await connection.on_connect()
        self.connects += 1

    async def close(self) -> None:
        """Close the connections."""
        await self._pipe.close()
        await self._client.aclose()

    async def _run(self, request: Request[Answer]) -> Answer:
        answers = await self._pipe.send(request.commands)
        unloaded = _unloaded(answers)
        if unloaded:
            await self._pipe.send(LOAD_SCRIPTS)
            again = await self._pipe.send([request.commands[i] for i in unloaded])
            for i, answer in zip(unloaded, again, strict=True):
                answers[i] = answer
        return request.meaning(_checked(answers))

    async def write_many(self, writes: Sequence[ListWrite], ttl_seconds: float) -> list[bool]:
        return await self._run(ask.write_many(writes, ttl_seconds))

    async def read(self, tenant: str, user: str) -> StoredList | None:
        return await self._run(ask.read(tenant, user))

    async def read_many(self, tenant: str, users: Sequence[str]) -> list[StoredList | None]:
        return await self._run(ask.read_many(tenant, users))

    async def write_popular(
        self, tenant: str, list: StoredList, ttl_seconds: float | None = None
    ) -> bool:
        return await self._run(ask.write_popular(tenant, list, ttl_seconds))

    async def popular(self, tenant: str) -> StoredList | None:
        return await self._run(ask.popular(tenant))

    async def next_epoch(self, topic: str, partition: int, above: int = 0) -> int:
        return await self._run(ask.next_epoch(topic, partition, above))

    async def publish_alert(self, tenant: str, payload: bytes) -> None:
        return await self._run(ask.publish_alert(tenant, payload))

    async def note_recent(self, users: Sequence[tuple[str, str]]) -> None:
        return await self._run(ask.note_recent(users))

    async def recent(self, tenant: str) -> list[str]:
        return await self._run(ask.recent(tenant))

    async def count(
        self, tenant: str, added: Mapping[str, int], wanted: Sequence[str]
    ) -> list[int]:
        return await self._run(ask.count(tenant, added, wanted))

    async def write_profile(
        self, tenant: str, user: str, *, personalise: bool = True, interests: Sequence[str] = ()
    ) -> None:
        return await self._run(ask.write_profile(tenant, user, personalise, interests))

    async def read_profile(self, tenant: str, user: str) -> ProfileFlags:
        return await self._run(ask.read_profile(tenant, user))

    async def change_profile(
        self, tenant: str, user: str, change: Callable[[ProfileFlags], ProfileFlags]
    ) -> ProfileFlags:
        """`write_profile` of what `change` makes of the flags; of several at once none is lost."""
        while True:
            before = await self._run(ask.stored_profile(tenant, user))
            flags = change(decode_profile(before or None))
            if await self._run(ask.exchange_profile(tenant, user, before, flags)):
                await self._run(ask.lift_tombstone(tenant, user))
                return flags

    async def read_with_profile(
        self, tenant: str, user: str
    ) -> tuple[ProfileFlags, StoredList | None]:
        """Both in one round trip; the API's own path."""
        return await self._run(ask.read_with_profile(tenant, user))

    async def delete_user(self, tenant: str, user: str) -> None:
        return await self._run(ask.delete_user(tenant, user))
