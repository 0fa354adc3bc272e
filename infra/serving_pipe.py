"""Commands of many callers over one connection, each sent at once, answered in order.

redis-py connects, whatever the URL asks for, and hands its streams over. Its own pipeline costs
some 0.2 ms of CPU at every use and lends its connection to one caller at a time; a worker writes
lists some hundred times a second.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import hiredis
from msgspec import Struct
from redis._parsers.base import BaseParser
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    InvalidResponse,
    ReadOnlyError,
    TimeoutError,
)

READ_BYTES = 65_536
NOT_ENOUGH = object()
UNASKED = getattr(hiredis, "PushNotification", ())  # hiredis < 3.2 has none


class _Waiting(Struct):
    """A caller: how many answers he waits for, and those that came."""

    count: int
    answers: list[Any]
    done: asyncio.Future[list[Any]]
    sent_at: float


class Pipe:
    """One connection of a redis-py client's pool, made when it is needed, and again when it broke.

    Args:
        client: a `redis.asyncio` client.
        timeout_seconds: after so long without an answer the connection counts as broken.
    """

    def __init__(self, client: Any, timeout_seconds: float) -> None:
        self._pool = client.connection_pool
        self._timeout = timeout_seconds
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()

    async def send(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The commands' answers; an error that the server answers with stands in its place.

        A connection that breaks meanwhile is made anew and they are sent once more.

        Raises:
            redis.exceptions.RedisError, OSError: no connection, a broken one, or no answer in time.
        """
        if not commands:
            return []
        packed = b"".join([hiredis.pack_command(command) for command in commands])
        try:
            return await (await self._linked()).send(packed, len(commands))
        except ConnectionError:
            return await (await self._linked()).send(packed, len(commands))

    async def _linked(self) -> _Link:
        if self._link is None or self._link.broken:
            async with self._connecting:
                if self._link is None or self._link.broken:
                    await self.close()
                    connection = await self._pool.get_connection()
                    self._link = _Link(connection, self._timeout)
        return self._link

    async def close(self) -> None:
        """Hang up; whoever still waits gets a ConnectionError."""
        link, self._link = self._link, None
        if link is not None:
            link.fail(ConnectionError("closed"))
            await link.connection.disconnect(nowait=True)
            await self._pool.release(link.connection)


class _Link:
    def __init__(self, connection: Any, timeout_seconds: float) -> None:
        self.connection = connection
        self.broken = False
        self._timeout = timeout_seconds
        self._parser = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=BaseParser.parse_error,
            notEnoughData=NOT_ENOUGH,
        )
        self._waiting: deque[_Waiting] = deque()
        self._loop = asyncio.get_running_loop()
        self._late: asyncio.TimerHandle | None = None
        self._reading = asyncio.create_task(self._read())

    def send(self, packed: bytes, count: int) -> asyncio.Future[list[Any]]:
        done: asyncio.Future[list[Any]] = self._loop.create_future()
        # A connection that was reset still has to be read once until we know; writing to it then is
        # a RuntimeError on uvloop.
        if not self.broken and self.connection._writer.is_closing():
            self.fail(ConnectionError("the server hung up"))
        if self.broken:
            done.set_exception(ConnectionError("closed"))
            return done
        self._waiting.append(_Waiting(count, [], done, time.monotonic()))
        self.connection._writer.write(packed)
        if self._late is None:
            self._late = self._loop.call_later(self._timeout, self._look)
        return done

    def fail(self, error: Exception) -> None:
        self.broken = True
        if self._late is not None:
            self._late.cancel()
        self._reading.cancel()
        while self._waiting:
            done = self._waiting.popleft().done
            if not done.done():
                done.set_exception(error)

    def _look(self) -> None:
        """One clock for all: an answer is late where the oldest question's is."""
        self._late = None
        if self._waiting:
            left = self._waiting[0].sent_at + self._timeout - time.monotonic()
            if left <= 0:
                self.fail(TimeoutError(f"no answer within {self._timeout:.0f} s"))
            else:
                self._late = self._loop.call_later(left, self._look)

    async def _read(self) -> None:
        stream = self.connection._reader
        try:
            while data := await stream.read(READ_BYTES):
                self._parser.feed(data)
                while (answer := self._parser.gets()) is not NOT_ENOUGH:
                    self._answered(answer)
        except (OSError, InvalidResponse) as error:
            self.fail(ConnectionError(str(error)))
        else:
            self.fail(ConnectionError("the server hung up"))

    def _answered(self, answer: Any) -> None:
        if isinstance(answer, UNASKED) or not self._waiting:
            return
        first = self._waiting[0]
        first.answers.append(answer)
        if len(first.answers) == first.count:
            self._waiting.popleft()
            if not first.done.done():  # or its caller was cancelled
                first.done.set_result(first.answers)
        if isinstance(answer, (ReadOnlyError, ConnectionError)) and not isinstance(
            answer, BusyLoadingError
        ):  # a master no more: the next one is found by connecting
            self.fail(ConnectionError("not a master any more"))
