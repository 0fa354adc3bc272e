"""`springtide bench backlog`: how a backlog is caught up, and what newcomers wait meanwhile."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from streams.commands.bench_run import AsJson, Broker, DataDir, on_embedded_parts
from streams.topics import PARTITIONS


def backlog(
    events: Annotated[int, typer.Option(min=1_000, help="Of the backlog.")] = 1_000_000,
    items: Annotated[int, typer.Option(min=8, max=100_000, help="Courses to rank.")] = 1_000,
    users: Annotated[int, typer.Option(min=1, max=1_000_000, help="Who interact.")] = 10_000,
    workers: Annotated[
        int, typer.Option(min=1, max=PARTITIONS, help="They share it; one for each core is best.")
    ] = 1,
    broker: Broker = "auto",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """How fast a backlog is caught up, and how long a list waits meanwhile.

    While the workers work the backlog off, a new user clicks every second. His list may come after
    (records ahead in his partition ÷ the partition's rate) + 1 s; "kept" says whether all did. The
    workers' lag metric is held against where their checkpoints say they were.

    Example: springtide bench backlog --events 1000000 --workers 2 --json
    """
    from streams.bench_catch_up import CatchUpOptions, bench_catch_up

    options = CatchUpOptions(events, users, items, workers, broker)
    found = on_embedded_parts(bench_catch_up, options, data_dir)
    if as_json:
        print(json.dumps(found))
        return
    print(
        f"{found['per_second']:,} events/s ({found['per_core_second']:,} a core second) on "
        f"{found['broker']}; lists {'in time' if found['kept'] else 'late'}: at worst "
        f"{found['worst_beyond']:+.2f} s beyond what the records ahead and a second allow"
    )
