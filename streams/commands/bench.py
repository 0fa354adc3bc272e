"""`springtide bench …`: measure on this machine."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from streams.commands.bench_ingest import ingest
from streams.commands.bench_scale import scale
from streams.commands.bench_serve import serve
from streams.commands.bench_topk import topk

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Measure on this machine. Example: springtide bench freshness --rate 200 --seconds 30"""


@app.command()
def freshness(
    rate: Annotated[float, typer.Option(min=1, max=10_000, help="Clicks a second.")] = 200.0,
    seconds: Annotated[float, typer.Option(min=1, help="Of each run.")] = 30.0,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Their median is reported.")] = 5,
    items: Annotated[int, typer.Option(min=8, max=100_000, help="Courses to rank.")] = 1_000,
    broker: Annotated[
        Literal["auto", "kafka", "tansu"],
        typer.Option(help="auto: the real Kafka where KAFKA_HOME names one, else Tansu."),
    ] = "auto",
    data_dir: Annotated[
        Path | None, typer.Option(help="New or empty; logs stay there [default: a temporary one].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """How long from the producer's send to the user's new list read in Redis.

    Everything that the demo runs is started on this machine; users click in turn, the learner
    learns every click, and a reader outside the worker waits for each new list. Each run lasts
    --seconds; p50 and p99 are the medians of the runs'.

    Example: springtide bench freshness --rate 200 --seconds 30 --json
    """
    from infra import telemetry
    from infra.settings import load_settings
    from streams.bench import BenchOptions, bench_freshness

    telemetry.configure(level="WARNING")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = BenchOptions(rate, seconds, runs, items, broker)
    settings = load_settings(data_dir=data_dir)
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as temporary, bar() as shown:
        task = shown.add_task("", total=1.0)
        found = bench_freshness(
            options,
            settings,
            data_dir or Path(temporary),
            lambda doing, share: shown.update(task, description=doing, completed=share),
        )
    if as_json:
        print(json.dumps(found))
        return
    print(f"p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms on {found['broker']}")
    for run in found["runs"]:
        print(
            f"  p50 {run['p50_ms']:.1f}, p99 {run['p99_ms']:.1f}, max {run['max_ms']:.1f} ms "
            f"over {run['count']} clicks, {run['unanswered']} without a list"
        )


@app.command()
def spikes(
    keys: Annotated[int, typer.Option(min=1, max=1_000_000, help="Items known.")] = 100_000,
    comments: Annotated[int, typer.Option(min=1_000, help="Of each run.")] = 100_000,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Their median is reported.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Scored comments a second that the spike detectors take on one core.

    Example: springtide bench spikes --keys 100000 --json
    """
    from online.spikes_speed import measured

    with bar() as shown:
        task = shown.add_task("", total=1.0)
        found: dict[str, Any] = measured(
            keys,
            comments,
            runs,
            lambda doing, share: shown.update(task, description=doing, completed=share),
        )
    found |= {"broker": None, "components": ["monitor"], "keys": keys, "comments": comments}
    if as_json:
        print(json.dumps(found))
        return
    print(
        f"{found['per_second']:,.0f} comments/s with {keys:,} keys: "
        f"{found['us_per_comment']:.1f} µs each, {found['bytes_per_key']:.0f} bytes a key"
    )


def bar() -> Any:
    """A progress bar on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"), BarColumn(), console=Console(stderr=True), transient=True
    )


app.command()(ingest)
app.command()(scale)
app.command()(serve)
app.command()(topk)
