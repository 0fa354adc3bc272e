"""A request's head has bounds, and what is within them is served as ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from infra import http_bounds
from infra.health import HttpServer, listen

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
BEGIN = b"GET / HTTP/1.1\r\nhost: a\r\n"
MOST_TAKEN = 12_000_000  # what two sockets hold besides


async def length(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


@asynccontextmanager
async def connected() -> AsyncIterator[Streams]:
    routes = [Route("/", length, methods=["GET", "POST"])]
    server = HttpServer(Starlette(routes=routes), listen("127.0.0.1", 0))
    await server.start()
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    yield reader, writer
    writer.close()
    await server.stop()


def on_a_connection(scenario: Callable[[Streams], Awaitable[None]]) -> None:
    async def run() -> None:
        async with connected() as streams:
            await asyncio.wait_for(scenario(streams), 30)

    asyncio.run(run())


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head.split(b" ")[1], await reader.readexactly(size)


@pytest.mark.parametrize(
    "begin, piece",
    [(BEGIN + b"x: ", b"a" * 100_000), (BEGIN, b"a: b\r\n" * 20_000), (b"GET /", b"a" * 100_000)],
    ids=["one header", "many headers", "the address"],
)
def test_a_head_that_never_ends_is_cut_off(begin: bytes, piece: bytes) -> None:
    async def scenario(streams: Streams) -> None:
        _, writer = streams
        writer.write(begin)
        sent = 0
        while sent < MOST_TAKEN:
            writer.write(piece)
            sent += len(piece)
            try:
                await writer.drain()
            except ConnectionError:
                break
            await asyncio.sleep(0)
        assert sent < MOST_TAKEN

    on_a_connection(scenario)


def test_who_is_slow_to_say_what_he_wants_is_told_and_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_bounds, "HEAD_SECONDS", 0.2)

    async def scenario(streams: Streams) -> None:
        reader, writer = streams
        writer.write(BEGIN)
        assert (await answer(reader))[0] == b"408"
        assert await reader.read() == b""

    on_a_connection(scenario)


def test_what_is_within_bounds_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces, large, several in one piece; and a quiet connection has no timer to fear."""
    monkeypatch.setattr(http_bounds, "HEAD_SECONDS", 0.5)

    async def scenario(streams: Streams) -> None:
        reader, writer = streams
        for byte in BEGIN + b"\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
        assert await answer(reader) == (b"200", b"0")
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000000\r\n\r\n")
            writer.write(b" " * 5_000_000 + BEGIN + b"\r\n")
            assert await answer(reader) == (b"200", b"5000000")
            assert await answer(reader) == (b"200", b"0")
        await asyncio.sleep(0.8)
        writer.write(BEGIN + b"x: " + b"a" * 60_000 + b"\r\n\r\n")
        assert await answer(reader) == (b"200", b"0")

    on_a_connection(scenario)
