"""`springtide checkpoints show`: what a fresh process reads from the checkpoint files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.settings import UserError, load_settings

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Look at the learner's checkpoints. Example: springtide checkpoints show --json"""


@app.command()
def show(
    data_dir: Annotated[Path | None, typer.Option(help="Where the checkpoints live.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Offsets, events learned, users, items, time and size.

    events_learned is summed from the additive statistics themselves, not from a counter.

    Example: springtide checkpoints show --data-dir springtide-data --json
    """
    url = load_settings(data_dir=data_dir).checkpoints
    if "://" not in url and not Path(url).is_dir():
        raise UserError(f"{url}: no such folder: name --data-dir, or SPRINGTIDE_CHECKPOINT_URL")
    summary = summarise(url)
    if as_json:
        print(json.dumps(summary))
        return
    for name, value in summary.items():
        print(f"{name:>16}  {value}")


def summarise(url: str) -> dict[str, Any]:
    """Read every partition file below `url` and add up."""
    from online.changes import events_in, items_in, of_tenant, users_in
    from online.checkpoint import CheckpointStore
    from streams import monitor, partition
    from streams.epochs import MONITOR
    from streams.monitor import MonitorMeta
    from streams.partition import PartitionMeta, decode_meta

    store = CheckpointStore(url)
    offsets: dict[str, int] = {}
    learned = users = duplicates = ignored = size = 0
    items: set[str] = set()
    written_at = 0.0
    for name in store.names():
        found = store.read(name)
        if found is None:
            continue
        size += found.bytes
        if name == MONITOR:
            offsets["sentiment.v1/0"] = decode_meta(
                found.header, MonitorMeta, monitor.FORMAT
            ).offset
        if not name.startswith("partition-"):
            continue
        meta = decode_meta(found.header, PartitionMeta, partition.FORMAT)
        offsets |= {f"{topic}/{meta.partition}": at for topic, at in meta.offsets.items()}
        duplicates += meta.duplicates
        ignored += meta.ignored
        written_at = max(written_at, meta.written_at)
        for tenant in meta.tenants:
            arrays = of_tenant(tenant, found.arrays)
            learned += events_in(arrays)
            users += users_in(arrays)
            items |= {f"{tenant}/{item}" for item in items_in(arrays)}
    return {
        "offsets": dict(sorted(offsets.items())),
        "events_learned": learned,
        "duplicates": duplicates,
        "ignored": ignored,
        "users": users,
        "items": len(items),
        "written_at": datetime.fromtimestamp(written_at, UTC).isoformat() if written_at else None,
        "bytes": size,
    }
