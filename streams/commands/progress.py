"""The progress bar of long commands, on stderr: stdout belongs to the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


def progress_bar(extra: str = "") -> Progress:
    """A bar with description, count and time left; a task field `extra` is shown after them."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    more = (TextColumn(f"{{task.fields[{extra}]}}"),) if extra else ()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        *more,
        console=Console(stderr=True),
    )
