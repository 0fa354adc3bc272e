"""`springtide worker`: the Faust worker, with its health routes."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.settings import Settings, load_settings

# The young ones are mostly messages, gone by themselves. What stays is looked through once more:
# after fifty times 2,000 that took up to 25 ms, in which no list came.
GC_THRESHOLDS = (2_000, 4, 100)
# A thread that writes rows or checkpoints holds the interpreter's lock for as long when the loop
# asks for it, and the loop asks after every system call; the default is 5 ms.
SWITCH_SECONDS = 0.0005
STOP_SECONDS = 15.0

if TYPE_CHECKING:
    from streams.app import App
    from streams.components import Components


def worker(
    port: Annotated[int, typer.Option(help="Health and metrics; 0: a free one, printed.")] = 0,
    host: Annotated[str, typer.Option(help="Address of health and metrics.")] = "127.0.0.1",
    data_dir: Annotated[Path | None, typer.Option(help="Checkpoints and keys live here.")] = None,
    max_age: Annotated[
        float | None, typer.Option(help="Events older than this (seconds) are dead letters.")
    ] = None,
    max_users: Annotated[
        int | None, typer.Option(min=1, help="Users kept a tenant; the longest silent go first.")
    ] = None,
    max_items: Annotated[
        int | None, typer.Option(min=1, help="Items kept a tenant; more are refused and counted.")
    ] = None,
) -> None:
    """Learn, recommend, score, monitor and archive.

    Reads SPRINGTIDE_KAFKA_URL, SPRINGTIDE_REDIS_URL, SPRINGTIDE_CLICKHOUSE_URL and
    SPRINGTIDE_CLASSIFIER_URL. Start as many as you like, up to one per partition.

    Example: springtide worker --port 8082
    """
    from infra import telemetry

    telemetry.configure()
    settings = load_settings(
        data_dir=data_dir, max_age_seconds=max_age, max_users=max_users, max_items=max_items
    )
    import uvloop

    uvloop.run(run_worker(settings, host, port))


async def run_worker(
    settings: Settings, host: str, port: int, components: Components | None = None
) -> None:
    """Run a worker until SIGINT or SIGTERM; `components` None: all."""
    from infra.health import HttpServer, listen
    from infra.serving import AsyncRedisTopKStore
    from streams import kafka_connection, topics
    from streams.app import create_app
    from streams.components import ALL
    from streams.fatal import fatal
    from streams.worker_http import worker_http

    kafka_connection.mend()
    listener, kafka_url = listen(host, port), settings.kafka_url.get_secret_value()
    await asyncio.to_thread(topics.require, kafka_url)
    store = await AsyncRedisTopKStore.connect(settings.redis_url.get_secret_value())
    app = create_app(settings, store, components or ALL)
    app.river.user_partitions = await asyncio.to_thread(
        topics.partition_count, kafka_url, topics.COMMENTS
    )
    server = HttpServer(worker_http(app, settings.api_tokens_file), listener)
    await server.start()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    await asyncio.to_thread(_warm_up)
    await app.start()
    _settle_memory()
    announce = asyncio.create_task(_announce(app, server.url))
    await stopping.wait()
    announce.cancel()
    ending = asyncio.create_task(app.stop())
    ended, _ = await asyncio.wait({ending}, timeout=STOP_SECONDS)
    if not ended:
        # A part that we wait for is away. Nothing is lost: what is not in a checkpoint comes again.
        fatal(TimeoutError(f"not stopped within {STOP_SECONDS:.0f} s"))
    await ending
    await server.stop()


def _settle_memory() -> None:
    """What stays for good is no longer looked through: a full collection stops every list."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_SECONDS)


async def _announce(app: App, url: str) -> None:
    await app.ready()
    print(json.dumps({"ready": True, "url": url}), flush=True)


def _warm_up() -> None:
    """Compile the kernels before the first event has to wait for them."""
    from online.warm_up import warm_up

    warm_up()
