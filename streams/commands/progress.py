"""The progress bar of long commands, on stderr: stdout belongs to the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

Found = TypeVar("Found")


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


def sent_bar() -> Progress:
    """A bar that counts events in its field `sent`, and vanishes at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.fields[sent]:,} events"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def with_share_bar(work: Callable[[Callable[[str, float], None]], Found]) -> Found:
    """What `work` finds; it tells (what it does, share done), for stages that cannot be counted."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(
        TextColumn("{task.description}"), BarColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task("", total=1.0)
        return work(lambda doing, share: bar.update(task, description=doing, completed=share))
