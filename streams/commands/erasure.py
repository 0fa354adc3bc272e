"""`springtide erasure`: whether anything is left of an erased user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from infra.settings import load_settings

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def erasure() -> None:
    """Look for what is left of a user that `DELETE /v1/users/{id}` erased.

    Example: springtide erasure check u1
    """


@app.command()
def check(
    user: Annotated[str, typer.Argument(help="His id.")],
    tenant: Annotated[str, typer.Option(help="His tenant.")] = "default",
    data_dir: Annotated[Path | None, typer.Option(help="Where the pseudonym key lives.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One object.")] = False,
) -> None:
    """Scan Redis, ClickHouse, checkpoints and users.v1; exit 1 where there is a trace.

    What raw topics still hold is shown with the time by which it is gone.

    Example: springtide erasure check u1 --tenant default --json
    """
    from streams.erasure_check import check as look

    found = look(load_settings(data_dir=data_dir), tenant, user)
    if as_json:
        print(json.dumps(found))
    else:
        for place, count in found["traces"].items():
            print(f"{place:>16}  {count} traces")
        for topic, raw in found["ages_out"].items():
            print(f"{topic:>16}  {raw['records']} records, gone by {raw['gone_by']}")
    raise typer.Exit(0 if found["clean"] else 1)
