"""How many comments a second the classifier server answers over HTTP, and what it does in a flood.

The real process, asked by `aiohttp` over kept-alive connections from this process; both share the
machine. The flood is open-loop: requests leave at five times the rate that was measured, whether
or not earlier ones are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
from msgspec import Struct

from streams.bench_ingest import cpu_seconds

CONNECTIONS = 8
FLOOD = 5.0

Progress = Callable[[str, float], None]


class HttpOptions(Struct, frozen=True):
    """`batch` texts a request; `flood_queue`: texts that may wait in the flood."""

    seconds: float = 5.0
    runs: int = 5
    batch: int = 32
    threads: int = 2
    flood_queue: int = 48
    engine: str = "torch"
    artifact: Path | None = None


def over_http(texts: Sequence[str], options: HttpOptions, progress: Progress) -> dict[str, Any]:
    """`per_second` by the clock with everything on this machine, `per_core_second` by the server's
    CPU time, times of a request, and the flood's.
    """
    bodies = [
        msgspec.json.encode({"inputs": [[text] for text in texts[at : at + options.batch]]})
        for at in range(0, len(texts) - options.batch + 1, options.batch)
    ]
    with _server(options) as (url, pid):
        runs = []
        for run in range(options.runs):
            progress("over HTTP", run / options.runs)
            runs.append(asyncio.run(_load(url, pid, bodies, options)))
    found: dict[str, Any] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    with _server(options, "--queue", str(max(options.flood_queue, options.batch))) as (url, _):
        progress("flooded", 0.95)
        found["flood"] = asyncio.run(_flooded(url, bodies, options, found["per_second"]))
    return found | {"threads": options.threads, "batch": options.batch, "connections": CONNECTIONS}


@contextlib.contextmanager
def _server(options: HttpOptions, *more: str) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "streams.cli", "classifier", "--port", "0"]
    command += ["--threads", str(options.threads), "--engine", options.engine, *more]
    if options.artifact is not None:
        command += ["--model", str(options.artifact)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the classifier server did not start; its log says why")
            yield json.loads(line)["url"], process.pid
        finally:
            process.terminate()


@contextlib.asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


async def _ask(session: aiohttp.ClientSession, url: str, body: bytes) -> tuple[int, float]:
    """Status and milliseconds."""
    began = time.perf_counter()
    async with session.post(f"{url}/predict", data=body) as answer:
        await answer.read()
        return answer.status, (time.perf_counter() - began) * 1e3


async def _load(
    url: str, pid: int, bodies: Sequence[bytes], options: HttpOptions
) -> dict[str, float]:
    """Closed loop: each connection asks again when it is answered."""
    times: list[float] = []
    turn = itertools.cycle(bodies)
    began, spent = time.perf_counter(), cpu_seconds(pid)
    until = began + options.seconds

    async def connection(session: aiohttp.ClientSession) -> None:
        while time.perf_counter() < until:
            status, took = await _ask(session, url, next(turn))
            if status != 200:
                raise RuntimeError(f"the classifier server answered {status}")
            times.append(took)

    async with _session() as session:
        await asyncio.gather(*(connection(session) for _ in range(CONNECTIONS)))
    answered = len(times) * options.batch
    return {
        "per_second": answered / (time.perf_counter() - began),
        "per_core_second": answered / (cpu_seconds(pid) - spent),
        "p50_ms": float(np.percentile(times, 50)),
        "p99_ms": float(np.percentile(times, 99)),
    }


async def _flooded(
    url: str, bodies: Sequence[bytes], options: HttpOptions, capacity: float
) -> dict[str, Any]:
    """Unloaded one request at a time, then at five times the capacity."""
    turn = itertools.cycle(bodies)
    async with _session() as session:
        alone = [(await _ask(session, url, next(turn)))[1] for _ in range(100)]
        pause = options.batch / (FLOOD * capacity)
        asked = []
        began = time.perf_counter()
        for number in range(int(options.seconds / pause)):
            await asyncio.sleep(max(0.0, began + number * pause - time.perf_counter()))
            asked.append(asyncio.ensure_future(_ask(session, url, next(turn))))
        answers = await asyncio.gather(*asked)
    accepted = [took for status, took in answers if status == 200]
    statuses = [status for status, _ in answers]
    unloaded, loaded = float(np.percentile(alone, 99)), float(np.percentile(accepted, 99))
    return {
        "times_capacity": FLOOD,
        "requests": len(answers),
        "accepted": len(accepted),
        "refused_429": statuses.count(429),
        "other": len(answers) - len(accepted) - statuses.count(429),
        "queue": max(options.flood_queue, options.batch),
        "unloaded_p99_ms": unloaded,
        "accepted_p99_ms": loaded,
        "p99_ratio": loaded / unloaded,
    }
