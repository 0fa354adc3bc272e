"""`springtide dashboards push|pull|diff|export`: Grafana as code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.settings import Settings, load_settings

if TYPE_CHECKING:
    from dashboards.grafana_push import Compared
    from dashboards.grafana_remote import Remote

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Url = Annotated[str | None, typer.Option(help="Default: SPRINGTIDE_GRAFANA_URL.")]
MOST_LINES = 12
EDITED = 1


@app.callback()
def group() -> None:
    """Grafana's folder, data sources, dashboards, alert rules and contact point, from the code.

    Example: springtide dashboards diff (its token comes from SPRINGTIDE_GRAFANA_TOKEN)
    """


@app.command()
def push(
    url: Url = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also over what was edited by hand, and passwords.")
    ] = False,
) -> None:
    """Write what is missing or outdated; twice changes nothing; hands' work is left, exit code 1.

    Example: springtide dashboards push --url https://grafana.example.com
    """
    from dashboards import grafana_push

    settings, grafana = _grafana(url)
    compared = _compared(settings, grafana)
    written = grafana_push.push(compared, grafana, force)
    for each in written:
        print(f"{each.resource.kind} {each.resource.title}: written, was {each.state}")
    left = [each for each in compared if each.state == "edited" and each not in written]
    _show(left)
    if left:
        print(f"{len(left)} edited by hand and left alone: `pull` them, or push --force")
        raise typer.Exit(EDITED)
    if not written:
        print("nothing to do: Grafana has it all")


@app.command()
def diff(url: Url = None) -> None:
    """Say where Grafana differs from the code; exit code 1 where it does.

    Example: springtide dashboards diff
    """
    compared = [each for each in _compared(*_grafana(url)) if each.state != "same"]
    _show(compared)
    if compared:
        raise typer.Exit(EDITED)
    print("no difference")


@app.command()
def pull(
    out: Annotated[Path, typer.Option(help="Folder for one JSON file a resource.")],
    url: Url = None,
) -> None:
    """Write what Grafana has of ours, so that work done by hand can be carried into the code.

    Example: springtide dashboards pull --out grafana-now
    """
    from dashboards.grafana_resources import resources, unstamped

    settings, grafana = _grafana(url)
    out.mkdir(parents=True, exist_ok=True)
    for each in resources(settings):
        found = grafana.read(each)
        if found is None:
            print(f"{each.kind} {each.title}: not in Grafana")
            continue
        content, _ = unstamped(each.kind, found)
        path = out / f"{each.kind.replace(' ', '-')}-{each.uid}.json"
        path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8")
        print(path)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder; json/ and provisioning/ below it.")],
) -> None:
    """Write the files that a Grafana without access for us can be provisioned with.

    Example: springtide dashboards export --out /etc/springtide/grafana
    """
    from dashboards import grafana_files

    changed = grafana_files.write(out)
    print("\n".join(map(str, changed)) if changed else "nothing to do: all files are current")


def _grafana(url: str | None) -> tuple[Settings, Remote]:
    from dashboards.grafana_remote import Remote

    settings = load_settings(grafana_url=url)
    return settings, Remote(settings)


def _compared(settings: Settings, grafana: Remote) -> list[Compared]:
    from dashboards import grafana_push
    from dashboards.grafana_resources import resources

    return grafana_push.compare(resources(settings), grafana)


def _show(compared: Sequence[Compared]) -> None:
    for each in compared:
        print(f"{each.resource.kind} {each.resource.title}: {each.state}")
        for line in each.differences[:MOST_LINES]:
            print(f"  {line}")
        if len(each.differences) > MOST_LINES:
            print(f"  … and {len(each.differences) - MOST_LINES} more")
