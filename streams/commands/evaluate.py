"""`springtide evaluate`: hold our figures against a file of your own."""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

# One file each, imported when it is named: `--help` stays fast.
WHAT = {
    "lists": "Top-K lists, test-then-learn, against conventional recommenders.",
    "sessions": "The next item of anonymous sessions, by the ADER protocol.",
    "sentiment": "The comment classifier on labelled comments.",
}


class LazyGroup(TyperGroup):
    """Commands that are imported when they are named."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in order."""
        return list(WHAT)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import one; None where there is none."""
        if cmd_name not in WHAT:
            return None
        module = importlib.import_module(f"streams.commands.evaluate_{cmd_name}")
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(cmd_name)(getattr(module, cmd_name))
        command = typer.main.get_command(single)
        command.short_help = WHAT[cmd_name]
        return command


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.callback()
def group() -> None:
    """Measure quality on a file of yours. Example: springtide evaluate lists --help"""
