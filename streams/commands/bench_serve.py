"""`springtide bench serve`: how many lists a second are served."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer


def serve(
    users: Annotated[int, typer.Option(min=1, max=1_000_000, help="With a list.")] = 10_000,
    items: Annotated[int, typer.Option(min=100, max=100_000, help="Of the catalogue.")] = 10_000,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each run.")] = 5.0,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Their median is reported.")] = 5,
    readers: Annotated[int, typer.Option(min=1, max=200, help="Connections to the API.")] = 4,
    broker: Annotated[
        Literal["auto", "kafka", "tansu"],
        typer.Option(help="auto: the real Kafka where KAFKA_HOME names one, else Tansu."),
    ] = "auto",
    data_dir: Annotated[
        Path | None, typer.Option(help="New or empty; logs stay there [default: a temporary one].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """How many lists a second come out of Redis, and out of the HTTP API on one core.

    Every request to the API asks for ten places of one topic on one surface without five items; the
    load comes from a process of its own.

    Example: springtide bench serve --seconds 5 --json
    """
    from infra import telemetry
    from infra.settings import load_settings
    from streams.bench_serve import ServeOptions, bench_serve
    from streams.commands.bench import bar

    telemetry.configure(level="WARNING")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = ServeOptions(
        users=users, items=items, seconds=seconds, runs=runs, readers=readers, broker=broker
    )
    settings = load_settings(data_dir=data_dir)
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as temporary, bar() as shown:
        task = shown.add_task("", total=1.0)
        found = bench_serve(
            options,
            settings,
            data_dir or Path(temporary),
            lambda doing, share: shown.update(task, description=doing, completed=share),
        )
    if as_json:
        print(json.dumps(found))
        return
    for name, part in (("API", found), ("Redis", found["redis"])):
        print(
            f"{name}: {part['per_second']:,.0f} lists/s, {part['per_core_second']:,.0f} a core, "
            f"p50 {part['p50_ms']:.2f}, p99 {part['p99_ms']:.2f} ms ({part['client']})"
        )
