"""`springtide classifier`: the model server, with its health routes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from infra.settings import Settings, UserError, load_settings
from streams.commands.classifier_engine import settled
from streams.commands.classifier_options import CacheDir, trunk_for

if TYPE_CHECKING:
    from starlette.types import ASGIApp

STOP_SECONDS = 10.0


def classifier(
    port: Annotated[int, typer.Option(help="0: a free one, printed.")] = 8081,
    host: Annotated[
        str, typer.Option(help="Address; without tokens whoever reaches it is answered.")
    ] = "127.0.0.1",
    model: Annotated[
        Path | None,
        typer.Option(help="An artifact, or a folder of versions (`models promote`), followed."),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto: cuda where there is one.")
    ] = "auto",
    engine: Annotated[
        Literal["torch", "openvino", "auto"],
        typer.Option(
            help="openvino: for CPUs without bf16; auto: the fastest here with fp32's labels."
        ),
    ] = "torch",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of torch; default: half of the processors.")
    ] = None,
    text_ranker: Annotated[
        Path | None,
        typer.Option(help="A text ranker, or a folder of versions, followed; default: none."),
    ] = None,
    queue: Annotated[int, typer.Option(min=1, help="Texts that may wait; more get 429.")] = 4_096,
    tokens_file: Annotated[
        Path | None, typer.Option(help="A line each: token tenant scope[,scope]; read is enough.")
    ] = None,
    cache_dir: CacheDir = None,
) -> None:
    """Serve the comment classifier over HTTP: /predict, /embed, /info, /health, /metrics.

    Also in KServe's, OpenAI's and Perspective's shapes: see /openapi.json.
    It asks no other machine for anything. The first start unpacks the trunk (3 s). Once warm it
    prints one line, {"ready": true, "url": …}. Reads SPRINGTIDE_MODEL, SPRINGTIDE_TRUNK,
    SPRINGTIDE_TEXT_RANKER and SPRINGTIDE_API_TOKENS_FILE: with it all but health and metrics ask
    for a token of the scope read, and workers show theirs, SPRINGTIDE_CLASSIFIER_TOKEN.

    Examples:

      springtide classifier --port 8081

      curl -s localhost:8081/predict -d '{"inputs": [["Great course!"], ["太差了"]]}'
    """
    from infra import telemetry

    telemetry.configure()
    settings = load_settings(model=model, text_ranker=text_ranker, api_tokens_file=tokens_file)
    asyncio.run(
        _main(
            host,
            port,
            settings,
            None if device == "auto" else device,
            engine,
            threads or default_threads(),
            queue,
            cache_dir,
        )
    )


def default_threads() -> int:
    """Half of the processors: the other half is for the worker that asks."""
    return max(1, (os.cpu_count() or 1) // 2)


def guarded(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Behind the API's doors where tokens are configured."""
    from models.bodies import MAX_BODY_BYTES
    from streams.api_access import Gate, read_tokens
    from streams.api_doors import Doors, Pace

    if settings.api_tokens_file is None:  # the network keeps others out
        return app
    gate = Gate(read_tokens(settings.api_tokens_file))
    pace = Pace(settings.api_requests_per_second)
    return Doors(app, gate, pace, most_bytes=MAX_BODY_BYTES, own=None)


async def _main(
    host: str,
    port: int,
    settings: Settings,
    device: str | None,
    engine: str,
    threads: int,
    queue: int,
    cache_dir: Path | None,
) -> None:
    from starlette.applications import Starlette

    from infra.health import HttpServer, health_routes, listen
    from infra.telemetry import get_logger
    from models.classifier import Classifier
    from models.errors import ModelError
    from models.metrics import ClassifierMetrics
    from models.server import Server
    from models.service import Service
    from models.trunk import default_cache_dir

    cache = cache_dir or default_cache_dir()
    found: list[tuple[str, str | None]] = []

    def make(folder: Path | None) -> Classifier:
        # The cheap checks first: a wrong folder is told at once, not after torch is imported.
        trunk = trunk_for(folder, cache)
        if not found:  # later versions are served as the first one is
            found.append(settled(engine, trunk, folder, device, threads, cache))
        name, dtype = found[0]
        # Torch keeps one number of threads for all: a later version must not set it again.
        first = service.classifier
        own = threads if first is None else None
        return Classifier(
            trunk,
            folder,
            device=device,
            dtype=dtype,
            threads=own,
            engine=name,
            beside=first,
            text_ranker=settings.text_ranker,
        )

    service = Service(ClassifierMetrics(), queue)
    routes = [*health_routes(service.not_ready), *Server(service).routes()]
    server = HttpServer(guarded(Starlette(routes=routes), settings), listen(host, port))
    await server.start()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    loading = asyncio.create_task(service.load(make, settings.model, settings.text_ranker))
    ended = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((loading, ended), return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loaded = loading.result()
            get_logger("classifier").info(
                "classifier.ready",
                model_version=loaded.model_version,
                device=loaded.device,
                dtype=loaded.dtype,
                engine=found[0][0],
                threads=threads,
            )
            print(json.dumps({"ready": True, "url": server.url}), flush=True)
            broken = asyncio.create_task(service.broken())
            await asyncio.wait((broken, ended), return_when=asyncio.FIRST_COMPLETED)
            if broken.done():  # started again, it answers; as it is, nobody is answered any more
                broken.result()
    except ModelError as error:
        raise UserError(str(error)) from None
    finally:
        # What was taken is answered first; a caller that never ends its request is not waited for.
        await asyncio.wait({asyncio.create_task(server.stop())}, timeout=STOP_SECONDS)
        await service.stop()
