"""`springtide simulate`: send the events of a simulated knowledge platform, or write them down."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.settings import UserError, load_settings
from streams.commands.progress import sent_bar

SHOW_EVERY = 50  # events between two looks at the bar
DEFAULT_SECONDS = 90.0


def simulate(
    users: Annotated[int, typer.Option(min=10, max=1_000_000, help="Users at any time.")] = 500,
    items: Annotated[int, typer.Option(min=8, max=100_000, help="Courses.")] = 240,
    rate: Annotated[float, typer.Option(min=0.01, max=100_000, help="Events a second.")] = 150.0,
    speed: Annotated[
        str | None,
        typer.Option(
            help="Of the platform's clock: real, 600x, … or max: as fast as it goes, with the "
            "clock and the events of the default. [default: 10800x: three hours a second]"
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option("--for", min=0.1, help="Length at that speed, in seconds; inf: endless."),
    ] = DEFAULT_SECONDS,
    seed: Annotated[int, typer.Option(help="Another seed, another platform.")] = 7,
    scandal_after: Annotated[
        float, typer.Option(min=0, help="Hours of the platform's clock until the scandal.")
    ] = 54.0,
    tenant: Annotated[str, typer.Option(help="Of every event.")] = "default",
    to: Annotated[
        Path | None, typer.Option(help="Write events to this .jsonl or .jsonl.gz, not to Kafka.")
    ] = None,
    kafka_url: Annotated[str | None, typer.Option(help="Default: SPRINGTIDE_KAFKA_URL.")] = None,
) -> None:
    """Send a platform with a known truth: catalogue, profiles, clicks, purchases, comments.

    At the default speed a day passes in eight seconds, and after 18 s one course has a scandal: a
    burst of complaints with one cause. Where and why is printed at the end. The platform's clock
    starts in the past and never passes the present. A file holds the interactions only, with ids
    that repeat from run to run; in Kafka every run has ids of its own.

    Examples:

      springtide simulate --for 60

      springtide simulate --seed 3 --to platform.jsonl.gz
    """
    from infra import telemetry
    from streams.pace import MAX, parse_speed
    from streams.replay import TENANT
    from streams.simulate import SPEED, SimulationConfig

    telemetry.configure()
    if not TENANT.fullmatch(tenant):
        raise UserError(f"--tenant {tenant}: use a-z, 0-9 and -, at most 64 of them")
    pace = SPEED if speed is None else parse_speed(speed)
    if to is not None and math.isinf(seconds):
        raise UserError("--for inf: a file needs an end; name the seconds")
    config = SimulationConfig(
        users=users,
        items=items,
        rate=rate,
        speed=SPEED if pace == MAX else pace,
        seconds=seconds,
        seed=seed,
        tenant=tenant,
        latest=time.time(),
        run=f"sim-{seed}" if to else f"sim-{time.time_ns() // 1_000_000:x}",
        scandal_after_hours=scandal_after,
    )
    if to is not None:
        print(f"{_write(config, to)} events in {to}")
    else:
        print(
            _send_all(config, load_settings(kafka_url=kafka_url).kafka_url.get_secret_value(), pace)
        )
    print(_truth(config))


def _write(config: Any, path: Path) -> int:
    from streams import simulate as platform
    from streams.simulate_file import check_name, write_events

    check_name(path)
    with sent_bar() as bar:
        task = bar.add_task("", total=config.rate * config.seconds, sent=0)
        return write_events(
            platform.simulate(config),
            path,
            lambda written: bar.update(task, completed=written, sent=written),
        )


def _send_all(config: Any, kafka_url: str, pace: float) -> str:
    from streams import topics

    topics.require(kafka_url)
    began = time.monotonic()
    sender = asyncio.run(_send(config, kafka_url, pace))
    refused = f", {sender.refused} refused ({sender.first_refusal})" if sender.refused else ""
    return f"{sender.events_in} events sent in {time.monotonic() - began:.1f} s{refused}"


async def _send(config: Any, kafka_url: str, pace: float) -> Any:
    """Send at that pace; returns once the broker has everything."""
    from streams import simulate as platform
    from streams.pace import iterate
    from streams.sender import Sender

    sender = Sender(kafka_url)
    await sender.start()
    total = None if math.isinf(config.seconds) else config.rate * config.seconds
    count = 0
    try:
        with sent_bar() as bar:
            task = bar.add_task("", total=total, sent=0)
            async for outbound in iterate(platform.simulate(config), pace):
                await sender.send(outbound)
                count += outbound.is_interaction
                if count % SHOW_EVERY == 0:
                    bar.update(task, completed=count, sent=count)
        await sender.flush()
    finally:
        await sender.stop()
    return sender


def _truth(config: Any) -> str:
    """Where the scandal is, for people to look for it."""
    from streams.simulate import scandal_of

    scandal = scandal_of(config)
    starts = datetime.fromtimestamp(scandal.starts_at, UTC)
    end = min(config.start + config.seconds * config.speed, config.latest)
    if scandal.starts_at >= end:
        return f"no scandal yet: the platform's clock does not reach {starts:%Y-%m-%d %H:%M} UTC"
    return (
        f"the scandal: {scandal.title} ({scandal.item_id}), {scandal.cause}, "
        f"from {starts:%Y-%m-%d %H:%M} UTC"
    )
