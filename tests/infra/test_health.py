"""The listener and the health routes that every process has."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from infra.health import HttpServer, health_routes, listen
from infra.settings import UserError


def test_a_taken_port_is_said_in_one_line() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(UserError, match="choose another"):
        taken.listen()
        listen("127.0.0.1", taken.getsockname()[1])


def test_answers_do_not_wait_for_the_acknowledgement_of_the_last() -> None:
    """asyncio turns Nagle's algorithm off for sockets that name their protocol, and only those."""
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_readiness_says_what_is_missing() -> None:
    missing = ["the catalogue"]
    routes = health_routes(lambda: missing[0], CollectorRegistry())

    async def ask() -> list[tuple[int, str]]:
        server = HttpServer(Starlette(routes=routes), listen("127.0.0.1", 0))
        await server.start()
        async with httpx.AsyncClient(base_url=server.url) as client:
            answers = [await client.get(path) for path in ("/livez", "/readyz")]
            missing[0] = ""
            answers.append(await client.get("/readyz"))
        await server.stop()
        return [(answer.status_code, answer.text) for answer in answers]

    assert asyncio.run(ask()) == [(200, "ok"), (503, "the catalogue"), (200, "ok")]
