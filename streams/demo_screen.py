"""The demo's terminal: a live display for people, plain lines for everything else."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streams.demo_glance import AlertSeen, Glance, UserList

LINE_SECONDS = 5.0
EXAMPLE_CHARACTERS = 90
ALERTS_SHOWN = 4


class Screen(Protocol):
    """Where the demo shows itself; a context manager."""

    def __enter__(self) -> Screen: ...

    def __exit__(self, *_: object) -> None: ...

    def say(self, text: str) -> None:
        """One lasting line."""

    def show(self, glance: Glance) -> None:
        """The latest look."""


def make_screen(console: Console) -> Screen:
    """Live where a person looks on, lines otherwise."""
    return LiveScreen(console) if console.is_terminal else LineScreen(console)


class LineScreen:
    """A line every 5 s, and one for each alert as it comes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0
        self._told: set[tuple[str, datetime]] = set()

    def __enter__(self) -> LineScreen:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def say(self, text: str) -> None:
        self._print(text)

    def show(self, glance: Glance) -> None:
        for alert in glance.alerts:
            incident = (alert.what, alert.started_at)
            if incident not in self._told:
                self._told.add(incident)
                self._print(f"ALERT {alert_text(alert)}")
        if glance.seconds < self._next:
            return
        self._next = glance.seconds + LINE_SECONDS
        self._print(figures(glance))
        for entry in glance.lists[:1]:
            self._print(f"  {entry.user}: {' | '.join(entry.titles)}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveScreen:
    """A display that stays in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4, transient=False)

    def __enter__(self) -> LiveScreen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        self._live.console.print(text, markup=False)

    def show(self, glance: Glance) -> None:
        parts: list[Text | Table | Panel] = [Text(figures(glance), style="bold"), _lists(glance)]
        parts += [
            Panel(Text(alert_text(alert)), title="alert", border_style="red", title_align="left")
            for alert in reversed(glance.alerts[-ALERTS_SHOWN:])  # what does not fit is the oldest
        ]
        self._live.update(Group(*parts))


def figures(glance: Glance) -> str:
    """The figures of one look in one line."""
    fresh = glance.freshness
    return (
        f"{glance.seconds:4.0f} s  {glance.events_in:,} events in ({glance.per_second:.0f}/s), "
        f"{glance.learned:,} learned, {glance.comments:,} comments scored; "
        f"event → list {_number(fresh.p50_ms, '.0f')}/{_number(fresh.p99_ms, '.0f')} ms p50/p99; "
        f"HR@10 {_number(glance.hr10, '.3f')}, popularity {_number(glance.popularity_hr10, '.3f')}"
    )


def alert_text(alert: AlertSeen) -> str:
    """What happened, how unusual it is, since when, and one comment that tells why."""
    example = alert.example.replace("\n", " ")[:EXAMPLE_CHARACTERS]
    return (
        f"{alert.what}: {alert.negatives} of {alert.comments} comments negative "
        f"({alert.share:.0%}, usually {alert.baseline:.0%}) since "
        f"{alert.started_at:%Y-%m-%d %H:%M}" + (f"  “{example}”" if example else "")
    )


def _lists(glance: Glance) -> Table:
    table = Table(title="lists of three users; green: new", title_justify="left", expand=True)
    table.add_column("user", no_wrap=True)
    for place in range(1, 4):
        table.add_column(str(place), ratio=1, no_wrap=True)
    for entry in glance.lists:
        table.add_row(entry.user, *_titles(entry))
    return table


def _titles(entry: UserList) -> list[Text]:
    return [
        Text(title, style="green" if changed else "")
        for title, changed in zip(entry.titles, entry.changed, strict=True)
    ]


def _number(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(value, form)
