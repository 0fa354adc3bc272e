"""`springtide bench serve`: how many lists a second are served."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from streams.commands.bench_run import AsJson, Broker, DataDir, Runs, on_embedded_parts


def serve(
    users: Annotated[int, typer.Option(min=1, max=1_000_000, help="With a list.")] = 10_000,
    items: Annotated[int, typer.Option(min=100, max=100_000, help="Of the catalogue.")] = 10_000,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each run.")] = 5.0,
    runs: Runs = 5,
    readers: Annotated[int, typer.Option(min=1, max=200, help="Connections to the API.")] = 4,
    broker: Broker = "auto",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """How many lists a second come out of Redis, and out of the HTTP API on one core.

    Every request to the API asks for ten places of one topic on one surface without five items; the
    load comes from a process of its own.

    Example: springtide bench serve --seconds 5 --json
    """
    from streams.bench_serve import ServeOptions, bench_serve

    options = ServeOptions(
        users=users, items=items, seconds=seconds, runs=runs, readers=readers, broker=broker
    )
    found = on_embedded_parts(bench_serve, options, data_dir)
    if as_json:
        print(json.dumps(found))
        return
    for name, part in (("API", found), ("Redis", found["redis"])):
        print(
            f"{name}: {part['per_second']:,.0f} lists/s, {part['per_core_second']:,.0f} a core, "
            f"p50 {part['p50_ms']:.2f}, p99 {part['p99_ms']:.2f} ms ({part['client']})"
        )
