"""`springtide bench …`: measure on this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from streams.commands.bench_backlog import backlog
from streams.commands.bench_classifier import classifier
from streams.commands.bench_ingest import ingest
from streams.commands.bench_run import (
    AsJson,
    Broker,
    DataDir,
    Runs,
    on_embedded_parts,
)
from streams.commands.bench_scale import scale
from streams.commands.bench_serve import serve
from streams.commands.bench_topk import topk
from streams.commands.progress import with_share_bar

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Measure speed on this machine. Example: springtide bench freshness --rate 200 --seconds 30"""


@app.command()
def freshness(
    rate: Annotated[float, typer.Option(min=1, max=10_000, help="Clicks a second.")] = 200.0,
    seconds: Annotated[float, typer.Option(min=1, help="Of each run.")] = 30.0,
    runs: Runs = 5,
    items: Annotated[int, typer.Option(min=8, max=100_000, help="Courses to rank.")] = 1_000,
    broker: Broker = "auto",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """How long from the producer's send to the user's new list read in Redis.

    Everything that the demo runs is started on this machine; users click in turn, the learner
    learns every click, and a reader outside the worker waits for each new list. Each run lasts
    --seconds; p50 and p99 are the medians of the runs'.

    Example: springtide bench freshness --rate 200 --seconds 30 --json
    """
    from streams.bench import BenchOptions, bench_freshness

    options = BenchOptions(rate, seconds, runs, items, broker)
    found = on_embedded_parts(bench_freshness, options, data_dir)
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
    runs: Runs = 5,
    as_json: AsJson = False,
) -> None:
    """Scored comments a second that the spike detectors take on one core.

    Example: springtide bench spikes --keys 100000 --json
    """
    from online.spikes_speed import measured

    found = with_share_bar(lambda progress: measured(keys, comments, runs, progress))
    found |= {"broker": None, "components": ["monitor"], "keys": keys, "comments": comments}
    if as_json:
        print(json.dumps(found))
        return
    print(
        f"{found['per_second']:,.0f} comments/s with {keys:,} keys: "
        f"{found['us_per_comment']:.1f} µs each, {found['bytes_per_key']:.0f} bytes a key"
    )


app.command()(backlog)
app.command()(classifier)
app.command()(ingest)
app.command()(scale)
app.command()(serve)
app.command()(topk)
