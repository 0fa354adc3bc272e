"""A group of commands, one file each, imported when it is named: `--help` stays fast."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import typer
from typer.core import TyperGroup


def lazy_group(prefix: str, what: Mapping[str, str], explain: Callable[[], None]) -> typer.Typer:
    """`explain`'s docstring is the help; command NAME is the function NAME in `<prefix>_<NAME>`.

    Args:
        prefix: of the modules in `streams.commands`.
        what: command → its line in the help.
    """

    class LazyGroup(TyperGroup):
        """Commands that are imported when they are named."""

        def list_commands(self, ctx: Any) -> list[str]:
            """The names, in order."""
            return list(what)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            """Import one; None where there is none."""
            if cmd_name not in what:
                return None
            name = cmd_name.replace("-", "_")
            module = importlib.import_module(f"streams.commands.{prefix}_{name}")
            single = typer.Typer(add_completion=False, rich_markup_mode=None)
            single.command(cmd_name)(getattr(module, name))
            command = typer.main.get_command(single)
            command.short_help = what[cmd_name]
            return command

    app = typer.Typer(
        cls=LazyGroup, add_completion=False, rich_markup_mode=None, no_args_is_help=True
    )
    app.callback()(explain)
    return app
