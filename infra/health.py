"""`/livez`, `/readyz`, `/metrics`, and a small HTTP server inside another program's loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from infra.http_bounds import BoundedHttp
from infra.settings import UserError


def health_routes(
    not_ready: Callable[[], str], registry: CollectorRegistry = REGISTRY
) -> list[Route]:
    """The three routes every process has.

    Args:
        not_ready: returns what is still missing, empty once ready.
    """

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_: Request) -> Response:
        missing = not_ready()
        return PlainTextResponse(missing or "ok", status_code=503 if missing else 200)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]


def listen(host: str, port: int) -> socket.socket:
    """A bound TCP socket; port 0 takes a free one.

    Raises:
        UserError: the port is taken or may not be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle off only where it is: 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise UserError(
            f"port {port} on {host} cannot be used ({error}): choose another with --port, "
            "or --port 0 for a free one"
        ) from None
    return listener


class HttpServer:
    """uvicorn inside a running loop; it leaves signals to the program that owns the loop."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="on", http=BoundedHttp, ws="none"
        )
        self._server = uvicorn.Server(config)
        # The owner of the loop handles signals; uvicorn must not take them over.
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._listener = listener
        self._task: asyncio.Task[None] | None = None
        host, port = listener.getsockname()[:2]
        self.url = f"http://{host}:{port}"

    async def start(self) -> None:
        """Serve in the background; returns once requests are taken."""
        self._task = asyncio.ensure_future(self._server._serve([self._listener]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise RuntimeError("the HTTP server stopped while it started")
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Finish what is being answered, then close."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
