"""`springtide dead-letters list|replay`: look at what could not be used, and send it again."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.settings import load_settings
from streams.events import DeadLetter

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Reason = Annotated[str | None, typer.Option(help="Only those whose reason contains this.")]
Source = Annotated[str | None, typer.Option(help="Only this record: topic/partition/offset.")]
PREVIEW = 100


@app.callback()
def group() -> None:
    """Events that could not be used. Example: springtide dead-letters list --limit 20"""


@app.command("list")
def list_letters(
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    reason: Reason = None,
    source: Source = None,
    payloads: Annotated[bool, typer.Option(help="Show the beginning of each payload.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
) -> None:
    """Show dead letters: when, from where, and why.

    Example: springtide dead-letters list --reason "future" --payloads
    """
    letters = _chosen(reason, source)
    shown = [_row(letter, payloads) for letter in letters[-limit:]]
    if as_json:
        print(json.dumps(shown, ensure_ascii=False))
        return
    for row in shown:
        print(f"{row['dead_lettered_at']}  {row['source']}  {row['bytes']} bytes  {row['reason']}")
        if payloads:
            print(f"    {row['payload']}")
    print(f"{len(letters)} dead letters" + (f", {limit} shown" if len(letters) > limit else ""))


@app.command()
def replay(
    reason: Reason = None,
    source: Source = None,
    dry_run: Annotated[bool, typer.Option(help="Only say how many.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where the pseudonym key lives.")] = None,
) -> None:
    """Send dead letters to their topics again, after what was wrong has been mended.

    A letter that still cannot be used comes back as a new one; an event that was used since is
    known by its id and counts once.

    Example: springtide dead-letters replay --reason "too many tenants"
    """
    from infra.pseudonym import Pseudonymiser
    from streams import dead_letter
    from streams.erasure import read_ledger

    settings = load_settings(data_dir=data_dir)
    pseudonyms = Pseudonymiser.from_settings(
        settings.pseudonym_key_file, settings.data_dir, make=False
    )
    chosen = _chosen(reason, source)
    ledger = asyncio.run(read_ledger(_kafka_url(), pseudonyms))
    letters = dead_letter.of_nobody_erased(chosen, ledger)
    if len(letters) < len(chosen):
        print(f"{len(chosen) - len(letters)} left out: their users were erased")
    if dry_run:
        print(f"{len(letters)} would be sent again")
        return
    sent = asyncio.run(dead_letter.replay(_kafka_url(), letters))
    cut = len(letters) - sent
    print(f"{sent} sent again" + (f"; {cut} not, their payloads were cut" if cut else ""))


def _kafka_url() -> str:
    return load_settings().kafka_url.get_secret_value()


def _chosen(reason: str | None, source: str | None) -> list[DeadLetter]:
    from streams import dead_letter

    async def collect() -> list[DeadLetter]:
        return [letter async for letter in dead_letter.read_all(_kafka_url())]

    return dead_letter.pick(asyncio.run(collect()), reason, source)


def _row(letter: DeadLetter, payloads: bool) -> dict[str, Any]:
    from streams.dead_letter import source_of

    row: dict[str, Any] = {
        "dead_lettered_at": letter.dead_lettered_at.isoformat(timespec="seconds"),
        "source": source_of(letter),
        "bytes": letter.payload_bytes,
        "reason": letter.reason,
    }
    if payloads:
        text = base64.b64decode(letter.payload_base64)[:PREVIEW].decode("utf-8", "replace")
        row["payload"] = text.encode("unicode_escape").decode()  # nothing may steer the terminal
    return row
