"""`springtide replay FILE`: send the events of a CSV or JSONL file."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.settings import UserError, load_settings
from streams.commands.progress import sent_bar

SHOW_EVERY = 200  # events between two looks at the bar

Type = Annotated[
    str | None,
    typer.Option(help="click, purchase or comment; a type column may say it [default: click]."),
]
Map = Annotated[
    str,
    typer.Option(
        help="Which column is what: user=…,item=…,time=…,text=…,id=… Obvious names need none."
    ),
]
Tenant = Annotated[str | None, typer.Option(help="Of every row [default: default].")]
Speed = Annotated[str, typer.Option(help="max, real, or so many times real time: 10x.")]
Limit = Annotated[int, typer.Option(min=0, help="At most so many events; 0: all.")]


def replay(
    file: Annotated[Path, typer.Argument(help="CSV or JSONL, gzipped or not.")],
    type: Type = None,
    map: Map = "",
    tenant: Tenant = None,
    speed: Speed = "max",
    limit: Limit = 0,
    kafka_url: Annotated[str | None, typer.Option(help="Default: SPRINGTIDE_KAFKA_URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Send the events of a file, in its order.

    Times are epoch seconds, milliseconds or ISO 8601 (without a zone: UTC). A row without a user
    becomes a user of its own; without an id it is known as FILE:ROW and a digest of what it says,
    so that a second replay of the same file is recognised. Rows that cannot be read are left out,
    counted and shown.

    Example: springtide replay clicks.csv.gz --map user=user_id,item=item_id,time=timestamp
    """
    from infra import telemetry
    from streams import topics
    from streams.pace import parse_speed
    from streams.replay import Replay, ReplayOptions
    from streams.replay_rows import RowFile

    telemetry.configure()
    pace = parse_speed(speed)
    with RowFile(file) as rows:
        source = Replay(rows, ReplayOptions(type, map, tenant, limit))
        settings = load_settings(kafka_url=kafka_url)
        given_url = settings.kafka_url.get_secret_value()
        topics.require(given_url)
        summary = asyncio.run(_send(source, rows, given_url, pace))
    if not source.events:
        raise UserError(f"{file}: no row could be used ({source.first_skipped or 'it has none'})")
    if as_json:
        print(json.dumps(summary, ensure_ascii=False))
        return
    print(
        f"{summary['events_in']} events sent in {summary['seconds']} s, "
        f"{summary['skipped']} rows left out"
        + (f" (first: {source.first_skipped})" if source.skipped else "")
        + (f", {source.in_future} in the future: dead letters" if source.in_future else "")
        + (f", {summary['refused']} refused by Kafka" if summary["refused"] else "")
    )


async def _send(source: Any, rows: Any, kafka_url: str, speed: float) -> dict[str, Any]:
    """Send everything; returns once the broker has it."""
    from streams.pace import iterate
    from streams.sender import Sender

    sender = Sender(kafka_url)
    began = time.monotonic()
    await sender.start()
    try:
        with sent_bar() as bar:
            task = bar.add_task("replay", total=rows.size, sent=0)
            async for outbound in iterate(source, speed):
                await sender.send(outbound)
                if source.events % SHOW_EVERY == 0:
                    bar.update(task, completed=rows.position, sent=source.events)
            bar.update(task, completed=rows.size, sent=source.events)
    finally:
        await sender.flush()
        await sender.stop()
    seconds = time.monotonic() - began
    return {
        "rows": source.rows,
        "events_in": sender.events_in,
        "skipped": source.skipped,
        "first_skipped": source.first_skipped,
        "in_future": source.in_future,
        "refused": sender.refused,
        "first_refusal": sender.first_refusal,
        "seconds": round(seconds, 2),
        "per_second": round(sender.events_in / seconds),
    }
