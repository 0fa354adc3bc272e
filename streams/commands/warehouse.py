"""`springtide warehouse migrate`: the ClickHouse tables."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.settings import load_settings

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Make the ClickHouse tables. Example: springtide warehouse migrate"""


@app.command()
def migrate(
    url: Annotated[str | None, typer.Option(help="Default: SPRINGTIDE_CLICKHOUSE_URL.")] = None,
) -> None:
    """Apply the numbered SQL files that were not applied yet; running it twice is harmless.

    Example: springtide warehouse migrate --url clickhouse://127.0.0.1:9000/default
    """
    from infra import warehouse

    settings = load_settings(clickhouse_url=url)
    applied = warehouse.migrate(settings.clickhouse_url.get_secret_value())
    print("\n".join(applied) if applied else "nothing to do: all migrations are applied")
