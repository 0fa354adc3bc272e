"""`springtide bench ingest`: how many events a core takes."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer


def ingest(
    events: Annotated[int, typer.Option(min=1_000, help="Of the backlog.")] = 100_000,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Their median is reported.")] = 5,
    items: Annotated[int, typer.Option(min=8, max=100_000, help="Courses to rank.")] = 1_000,
    users: Annotated[int, typer.Option(min=1, max=1_000_000, help="Who interact.")] = 10_000,
    setting: Annotated[
        list[str] | None, typer.Option(help="One of those below, may be repeated [default: all].")
    ] = None,
    broker: Annotated[
        Literal["auto", "kafka", "tansu"],
        typer.Option(help="auto: the real Kafka where KAFKA_HOME names one, else Tansu."),
    ] = "auto",
    data_dir: Annotated[
        Path | None, typer.Option(help="New or empty; logs stay there [default: a temporary one].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """How many events a core takes, through the real worker on a backlog.

    Settings: decode (and consume, no more), deduplicate (by id as well), statistics (and learn
    them), everything (lists coalesced), list-per-event; plain-faust, an ordinary Faust JSON agent,
    is the peer in the same run. Per core: events over the process's CPU seconds.

    Example: springtide bench ingest --events 100000 --json
    """
    from infra import telemetry
    from infra.settings import UserError, load_settings
    from streams.bench_ingest import DOES, IngestOptions, bench_ingest
    from streams.commands.bench import bar

    telemetry.configure(level="WARNING")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    unknown = set(setting or ()) - set(DOES)
    if unknown:
        raise UserError(f"--setting {unknown.pop()}: one of {', '.join(DOES)}")
    chosen = tuple(name for name in DOES if not setting or name in setting)
    options = IngestOptions(events, users, items, runs, chosen, broker)
    settings = load_settings(data_dir=data_dir)
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as temporary, bar() as shown:
        task = shown.add_task("", total=1.0)
        found = bench_ingest(
            options,
            settings,
            data_dir or Path(temporary),
            lambda doing, share: shown.update(task, description=doing, completed=share),
        )
    if as_json:
        print(json.dumps(found))
        return
    print(f"events per core second on {found['broker']}:")
    for name, rate in {**found["settings"], **found["peers"]}.items():
        print(f"  {name:>16}  {rate:>9,}")
