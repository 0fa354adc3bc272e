"""`springtide topics apply|show|schemas`: the Kafka topics and what they carry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.settings import load_settings
from streams.topics import PARTITIONS

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Make and show the Kafka topics. Example: springtide topics apply --partitions 8"""


@app.command()
def apply(
    partitions: Annotated[
        int, typer.Option(min=1, max=1024, help="Of each user-keyed topic: workers at most.")
    ] = PARTITIONS,
    replication: Annotated[int, typer.Option(min=1, max=9, help="Copies of each record.")] = 1,
    kafka_url: Annotated[str | None, typer.Option(help="Default: SPRINGTIDE_KAFKA_URL.")] = None,
) -> None:
    """Make the topics that are missing; running it twice is harmless.

    Example: springtide topics apply --partitions 8 --replication 3
    """
    from streams import topics

    made = topics.apply(
        load_settings(kafka_url=kafka_url).kafka_url.get_secret_value(), partitions, replication
    )
    print("\n".join(made) if made else "nothing to do: all topics exist")


@app.command()
def show() -> None:
    """The catalogue: name, key, retention, purpose. Example: springtide topics show"""
    from streams.topics import CATALOGUE

    for spec in CATALOGUE:
        kept = "compacted" if spec.compacted else f"{spec.retention_days:g} days"
        print(f"{spec.name:<20} {spec.keyed_by:<5} {kept:<10} {spec.purpose}")


@app.command()
def schemas(
    to: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("schemas"),
) -> None:
    """Write the JSON Schema of every topic, one file each. Example: springtide topics schemas"""
    from streams import json_schema

    to.mkdir(parents=True, exist_ok=True)
    for name, text in json_schema.texts().items():
        (to / name).write_text(text, encoding="utf-8")
        print(to / name)
