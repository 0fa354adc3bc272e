"""What `bench` does around a bench that starts processes: a folder, a bar, an end that is clean."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from streams.commands.progress import with_share_bar

if TYPE_CHECKING:
    from infra.settings import Settings

Runs = Annotated[int, typer.Option(min=1, max=100, help="Their median is reported.")]
Broker = Annotated[
    Literal["auto", "kafka", "tansu"],
    typer.Option(
        help="auto: the real Kafka that KAFKA_HOME names or `kafka fetch` brought, else Tansu."
    ),
]
DataDir = Annotated[
    Path | None, typer.Option(help="New or empty; logs stay there [default: a temporary one].")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]

Found = dict[str, Any]
Progress = Callable[[str, float], None]
Options = TypeVar("Options")


def on_embedded_parts(
    bench: Callable[[Options, Settings, Path, Progress], Found],
    options: Options,
    data_dir: Path | None,
) -> Found:
    """What a bench that starts the embedded parts found; SIGTERM ends them like an error does."""
    from infra import telemetry
    from infra.settings import load_settings

    telemetry.configure(level="WARNING")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    settings = load_settings()
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as temporary:
        folder = data_dir or Path(temporary)
        return with_share_bar(lambda progress: bench(options, settings, folder, progress))
