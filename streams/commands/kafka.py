"""`springtide kafka fetch`: a real Kafka for this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from infra.local.kafka_fetch import MAVEN_CENTRAL
from infra.settings import FETCHED, load_settings

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def kafka() -> None:
    """A real Kafka for `springtide demo` and `springtide local`, in place of Tansu.

    Example: springtide kafka fetch
    """


@app.command()
def fetch(
    data_dir: Annotated[
        Path | None, typer.Option(help="Below it `kafka-home` is filled, where the demo looks.")
    ] = None,
    url: Annotated[
        str, typer.Option("--from", help="A Maven repository, such as a mirror of yours.")
    ] = MAVEN_CENTRAL,
) -> None:
    """Fetch Kafka's pinned jars (44 MB), each checked by its SHA-256. Needs Java 17 to run.

    Example: springtide kafka fetch --data-dir springtide-data
    """
    from infra.local.java import OLDEST, find_java
    from infra.local.kafka_fetch import fetch as fill

    home = load_settings(data_dir=data_dir).data_dir / FETCHED
    count = fill(home, url, lambda name: print(name, file=sys.stderr))
    print(f"{count} jars fetched into {home}" if count else f"{home} is complete")
    if find_java() is None:
        print(f"no Java {OLDEST} or newer here: pip install 'springtide[kafka]'", file=sys.stderr)
