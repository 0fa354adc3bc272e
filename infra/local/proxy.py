"""A TCP proxy whose line can be slow, dead or cut: what a network does to a program."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Literal, TypeVar

from infra.local.ports import LOOPBACK

Mode = Literal["pass", "delay", "stall", "reset"]
CHUNK_BYTES = 65_536
DELAY_SECONDS = 0.2
WAIT_SECONDS = 10.0
T = TypeVar("T")


class Proxy:
    """One line to one server.

    Modes: "pass"; "delay", what passes waits 0.2 s; "stall", nothing passes and nothing ends, what
    was sent comes when the line lives again; "reset", connections are cut and new ones refused.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._mode: Mode = "pass"
        self._passes = asyncio.Event()
        self._passes.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen on a free loopback port, which is returned."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def set(self, mode: Mode) -> None:
        """From now on the line is like this."""
        self._mode = mode
        if mode == "stall":
            self._passes.clear()
        else:
            self._passes.set()
        if mode == "reset":
            for writer in list(self._writers):
                writer.transport.abort()

    async def stop(self) -> None:
        """Cut everything and listen no more."""
        await self.set("reset")
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            if self._mode != "reset":
                far_reader, far = await asyncio.open_connection(*self._target)
                self._writers.add(far)
                await asyncio.gather(self._pump(reader, far), self._pump(far_reader, writer))
        except OSError:
            pass  # either end went: so does the line
        finally:
            for one in filter(None, (writer, far)):
                self._writers.discard(one)
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if self._mode == "delay":
                await asyncio.sleep(DELAY_SECONDS)
            await self._passes.wait()
            writer.write(chunk)
            await writer.drain()
        writer.close()


class Proxies:
    """Named lines, in a thread with a loop of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lines: dict[str, tuple[Proxy, int]] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def line(self, name: str, host: str, port: int) -> int:
        """The port of the line to a server; made at the first call."""
        if name not in self._lines:
            proxy = self._wait(_made(host, port))
            self._lines[name] = proxy, self._wait(proxy.start())
        return self._lines[name][1]

    def set(self, name: str, mode: Mode) -> None:
        """From now on this line is like this."""
        self._wait(self._lines[name][0].set(mode))

    def stop(self) -> None:
        """Cut all lines and end the thread."""
        for proxy, _ in self._lines.values():
            self._wait(proxy.stop())
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_SECONDS)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_SECONDS)


async def _made(host: str, port: int) -> Proxy:
    return Proxy(host, port)
