"""`springtide bench ingest`: how many events a core takes."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from streams.commands.bench_run import AsJson, Broker, DataDir, Runs, on_embedded_parts


def ingest(
    events: Annotated[int, typer.Option(min=1_000, help="Of the backlog.")] = 100_000,
    runs: Runs = 5,
    items: Annotated[int, typer.Option(min=8, max=100_000, help="Courses to rank.")] = 1_000,
    users: Annotated[int, typer.Option(min=1, max=1_000_000, help="Who interact.")] = 10_000,
    setting: Annotated[
        list[str] | None, typer.Option(help="One of those below, may be repeated [default: all].")
    ] = None,
    broker: Broker = "auto",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """How many events a core takes, through the real worker on a backlog.

    Settings: decode (and consume, no more), deduplicate (by id as well), statistics (and learn
    them), everything (lists coalesced), list-per-event; plain-faust, an ordinary Faust JSON agent,
    is the peer in the same run. Per core: events over the process's CPU seconds.

    Example: springtide bench ingest --events 100000 --json
    """
    from infra.settings import UserError
    from streams.bench_ingest import DOES, IngestOptions, bench_ingest

    unknown = set(setting or ()) - set(DOES)
    if unknown:
        raise UserError(f"--setting {unknown.pop()}: one of {', '.join(DOES)}")
    chosen = tuple(name for name in DOES if not setting or name in setting)
    options = IngestOptions(events, users, items, runs, chosen, broker)
    found = on_embedded_parts(bench_ingest, options, data_dir)
    if as_json:
        print(json.dumps(found))
        return
    print(f"events per core second on {found['broker']}:")
    for name, rate in {**found["settings"], **found["peers"]}.items():
        print(f"  {name:>16}  {rate:>9,}")
