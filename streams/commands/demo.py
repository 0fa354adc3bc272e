"""`springtide demo`: everything at work, on a machine that has only Python."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from infra.settings import load_settings


def demo(
    events: Annotated[
        Path | None, typer.Option(help="Send this CSV or JSONL file, not the simulation.")
    ] = None,
    type: Annotated[
        str | None, typer.Option(help="Of the file: click, purchase or comment.")
    ] = None,
    map: Annotated[str, typer.Option(help="Which column is what: user=…,item=…,time=…")] = "",
    tenant: Annotated[str | None, typer.Option(help="Of every event.")] = None,
    speed: Annotated[
        str | None, typer.Option(help="max, real or 10x [default: a file max, else real].")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many events; 0: all.")] = 0,
    seconds: Annotated[
        float | None, typer.Option("--for", min=1, help="End after so many seconds of input.")
    ] = None,
    broker: Annotated[
        Literal["auto", "kafka", "tansu"],
        typer.Option(
            help="auto: the real Kafka that KAFKA_HOME names or `kafka fetch` brought, else Tansu."
        ),
    ] = "auto",
    data_dir: Annotated[
        Path | None, typer.Option(help="Everything is kept here [default: a temporary folder].")
    ] = None,
    keep: Annotated[bool, typer.Option(help="Keep the temporary folder, and say where.")] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Of the page; 0: a free one, printed.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one object.")] = False,
) -> None:
    """Watch it work: events flow, lists change, a scandal breaks and an alert fires.

    Starts Kafka, Valkey, ClickHouse, classifier, worker and page on this machine, sends a
    simulated platform (or your file), and at the end balances the books: exit code 1 if an event
    is missing. Ctrl-C ends it; nothing stays behind.

    Examples:

      springtide demo

      springtide demo --for 90 --json

      springtide demo --events clicks.csv.gz --map user=user_id,item=item_id,time=timestamp
    """
    from streams.demo import DemoOptions
    from streams.demo_feed import FeedOptions
    from streams.replay import ReplayOptions

    replay = ReplayOptions(type, map, tenant, limit)
    feed = FeedOptions(events, replay, math.inf if seconds is None else seconds, speed)
    options = DemoOptions(feed, broker, data_dir, port, keep)
    endless = seconds is None and events is None
    code = run(options, as_json, endless)
    if code:
        raise typer.Exit(code)


def run(options: Any, as_json: bool, endless: bool) -> int:
    """Run the demo; returns the exit code."""
    from rich.console import Console

    from infra import telemetry
    from streams.demo import Interrupted, Signals, run_demo
    from streams.demo_screen import make_screen

    signals = Signals()
    console = Console(stderr=as_json)
    telemetry.configure(level="WARNING" if sys.stderr.isatty() else "INFO")
    settings = load_settings()
    try:
        with make_screen(console) as screen:
            summary = run_demo(options, settings, screen, signals)
    except Interrupted:
        console.print("stopped; nothing is left running")
        return 0 if endless else 128 + signals.caught
    if as_json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        print_summary(summary)
    return 0 if summary["balanced"] else 1


def print_summary(summary: dict[str, Any]) -> None:
    """The summary for people."""
    for name, value in summary.items():
        if name != "alerts":
            print(f"{name:>16}  {value}")
            continue
        print(f"{name:>16}  {len(value)}")
        for alert in value:
            print(
                f"{'':>16}  {alert['title'] or alert['key']}: share {alert['share']:.0%}, usually "
                f"{alert['baseline']:.0%}, since {alert['started_at']}, raised {alert['raised_at']}"
            )
