"""`springtide evaluate workers`: what it costs that workers learn each other's events late."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.settings import UserError

if TYPE_CHECKING:
    from online.prequential_stream import Stream


def workers(
    data: Annotated[Path, typer.Option(help="CSV or JSONL, gzipped or not, in event order.")],
    workers: Annotated[int, typer.Option(min=2, max=64, help="Workers, against one.")] = 4,
    every: Annotated[int, typer.Option(min=1, help="Events between two exchanges.")] = 1000,
    map: Annotated[
        str, typer.Option(help="Which column is what: user=…,item=…,time=… Obvious ones need none.")
    ] = "",
    rating: Annotated[str | None, typer.Option(help="Column of ratings.")] = None,
    min_rating: Annotated[float | None, typer.Option(help="Leave out rows below this.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="The first so many; 0: all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Rank and learn a file with one worker and with several that exchange deltas.

    Users are partitioned as Kafka would; the item statistics go through the messages of
    item-deltas.v1, only the broker is not there. "loss" is the share of NDCG@10 that is lost
    against one worker. Rules and columns are those of `springtide evaluate lists`.

    Example: springtide evaluate workers --data ratings.csv.gz --workers 4 --every 1000 --json
    """
    from streams.lists_file import Filters, read_stream

    stream, skipped = read_stream(data, Filters(map, rating, min_rating, limit))
    if not len(stream):
        raise UserError(f"{data}: no row has a user and an item and passes the filters")
    found = {"events": len(stream), "workers": workers, "every": every, "skipped": skipped}
    found |= compare(stream, workers, every)
    print(json.dumps(found) if as_json else table(found))


def compare(stream: Stream, workers: int, every: int) -> dict[str, Any]:
    """One worker and several on the same stream."""
    from online.prequential_metrics import summarise
    from online.warm_up import warm_up
    from streams.commands.progress import progress_bar
    from streams.topics import PARTITIONS
    from streams.workers_run import Workers

    warm_up()
    methods: dict[str, Any] = {}
    with progress_bar() as bar:
        for name, count in (("one", 1), ("several", workers)):
            task = bar.add_task(f"{name} ({count})", total=len(stream))

            def advance(done: int, task: Any = task) -> None:
                bar.advance(task, done)

            ran = Workers(count, max(PARTITIONS, workers)).run(stream, every, advance)
            methods[name] = {
                **summarise(ran.ranks, stream.users),
                "increment_bytes_per_event": round(ran.increment_bytes / len(stream), 1),
                "factor_bytes_per_event": round(ran.factor_bytes / len(stream), 1),
                # What an event of somebody else's users costs a worker.
                "receive_us_per_event": round(
                    ran.receive_seconds / len(stream) / max(1, count - 1) * 1e6, 2
                ),
            }
    loss = {
        half: round(1 - methods["several"][half]["ndcg10"] / methods["one"][half]["ndcg10"], 5)
        if methods["one"][half]["ndcg10"]
        else 0.0
        for half in ("overall", "last_half")
    }
    return {"methods": methods, "loss": loss}


def table(found: dict[str, Any]) -> str:
    """What a person reads."""
    lines = [f"{found['events']:,} events, an exchange every {found['every']:,}"]
    for name, count in (("one", 1), ("several", found["workers"])):
        method = found["methods"][name]
        lines.append(
            f"{count} worker(s): NDCG@10 {method['overall']['ndcg10']:.4f}, last half "
            f"{method['last_half']['ndcg10']:.4f}"
        )
    loss = found["loss"]
    lines.append(f"loss of NDCG@10: {loss['overall']:.2%}, last half {loss['last_half']:.2%}")
    return "\n".join(lines)
