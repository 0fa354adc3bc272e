"""`springtide api`: the read API and the ops page."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.settings import Settings, load_settings

if TYPE_CHECKING:
    from streams.api import ApiApp

REDIS_SECONDS = 1.0


def api(
    port: Annotated[int, typer.Option(help="0: a free one, printed.")] = 8080,
    host: Annotated[str, typer.Option(help="Other than this machine needs tokens.")] = "127.0.0.1",
    tokens_file: Annotated[
        Path | None, typer.Option(help="A line each: token tenant scope[,scope].")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The pseudonym key lives here.")] = None,
) -> None:
    """Serve lists, take events, and show the ops page at /.

    Reads SPRINGTIDE_KAFKA_URL, SPRINGTIDE_REDIS_URL, SPRINGTIDE_CLICKHOUSE_URL,
    SPRINGTIDE_WORKER_URLS and SPRINGTIDE_API_TOKENS_FILE.

    Example: springtide api --port 8080
    """
    from infra import telemetry

    telemetry.configure()
    settings = load_settings(data_dir=data_dir, api_tokens_file=tokens_file)
    import uvloop

    uvloop.run(_main(settings, host, port))


async def _main(settings: Settings, host: str, port: int) -> None:
    from infra.health import HttpServer, listen
    from infra.serving import AsyncRedisTopKStore
    from streams import kafka_connection, topics
    from streams.api import create_api
    from streams.api_access import gate_for

    gate = gate_for(settings.api_tokens_file, host)
    kafka_connection.mend()
    listener = listen(host, port)
    await asyncio.to_thread(topics.require, settings.kafka_url.get_secret_value())
    redis_url = settings.redis_url.get_secret_value()
    store = await AsyncRedisTopKStore.connect(redis_url, REDIS_SECONDS)
    app = create_api(settings, store, gate)
    server = HttpServer(app.asgi, listener)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    await server.start()
    announce = asyncio.create_task(_announce(app, server.url))
    await stopping.wait()
    announce.cancel()
    await server.stop()


async def _announce(app: ApiApp, url: str) -> None:
    await app.ready()
    print(json.dumps({"ready": True, "url": url}), flush=True)
    print(f"ops page: {url}/", file=sys.stderr, flush=True)
