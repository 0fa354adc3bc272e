"""`springtide local`: the embedded parts alone, for those who develop against us."""

from __future__ import annotations

import json
import shlex
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from infra.settings import UserError, load_settings

if TYPE_CHECKING:
    from infra.local.stack import LocalStack

WATCH_SECONDS = 0.2


def local(
    data_dir: Annotated[Path | None, typer.Option(help="Everything is kept here.")] = None,
    broker: Annotated[
        Literal["auto", "kafka", "tansu"],
        typer.Option(
            help="auto: the real Kafka that KAFKA_HOME names or `kafka fetch` brought, else Tansu."
        ),
    ] = "auto",
    nodes: Annotated[
        int, typer.Option(min=1, max=5, help="Of the real Kafka; three keep three copies.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="The settings as one object.")] = False,
) -> None:
    """Start the embedded parts, make topics and tables, print the settings to export, and stay.

    A part whose URL is set in the environment is used, not started. Ctrl-C stops everything.

    Example: springtide local --data-dir springtide-data
    """
    from infra import telemetry
    from infra.local.stack import LocalStack

    telemetry.configure()
    # Before anything starts: a signal that comes early must find somebody who stops it all.
    stopping = _stop_on_signals()
    settings = load_settings(data_dir=data_dir)
    stack = LocalStack(settings.data_dir, broker, settings.kafka_folder, settings, nodes)
    try:
        with stack:
            _furnish(stack)
            _show(stack, as_json)
            _watch(stack, stopping)
    except KeyboardInterrupt:
        return


def _stop_on_signals() -> threading.Event:
    """Set once the parts are to stop; a signal during the start breaks it off."""
    stopping = threading.Event()

    def stop(*_: object) -> None:
        # Again and again from `timeout` or a terminal: one is enough, stopping must not break off.
        if not stopping.is_set():
            stopping.set()
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return stopping


def _furnish(stack: LocalStack) -> None:
    from infra import warehouse
    from streams import topics

    topics.apply(stack.kafka_url, replication=stack.replication)
    warehouse.migrate(stack.clickhouse_url)


def _show(stack: LocalStack, as_json: bool) -> None:
    settings = stack.environment()
    if as_json:
        print(json.dumps(settings), flush=True)
        return
    lines = [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
    print("\n".join(lines), flush=True)


def _watch(stack: LocalStack, stopping: threading.Event) -> None:
    while not stopping.wait(WATCH_SECONDS):
        for name in stack.supervisor.failed():
            raise UserError(f"{name} ended: see {stack.supervisor.log_of(name)}")
