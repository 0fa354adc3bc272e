"""`springtide evaluate lists`: the learner on a file of interactions, test-then-learn."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.settings import UserError

if TYPE_CHECKING:
    from online.prequential import Evaluated
    from online.prequential_stream import Stream
    from streams.replay_rows import RowFile

PEERS = ("popularity", "decayed-popularity")

Data = Annotated[Path, typer.Option(help="CSV or JSONL, gzipped or not; its order is the order.")]
Map = Annotated[
    str, typer.Option(help="Which column is what: user=…,item=…,time=… Obvious names need none.")
]
Rating = Annotated[str | None, typer.Option(help="Column of ratings, for --min-rating.")]
MinRating = Annotated[float | None, typer.Option(help="Leave out rows rated below this.")]
Limit = Annotated[int, typer.Option(min=0, help="The first so many interactions; 0: all.")]
Repeat = Annotated[
    bool,
    typer.Option("--repeat", help="Learn a user's repeats of an item, too (they are not ranked)."),
]
Peers = Annotated[str, typer.Option(help="all, none, or names: popularity,decayed-popularity.")]


def lists(
    data: Data,
    map: Map = "",
    rating: Rating = None,
    min_rating: MinRating = None,
    limit: Limit = 0,
    repeat: Repeat = False,
    peers: Peers = "popularity",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Rank every interaction among all items before learning it; HR@10, NDCG@10, MRR@20.

    All items seen so far are ranked, except those that the user already has. An item never seen
    before is a miss, and so is a score that is not finite; ties count against us. Filters come
    first, then repeats of a pair are dropped and counted, then --limit. "last_half" is the second
    half of what remains, with standard errors clustered by user.

    Example: springtide evaluate lists --data ratings.csv.gz --map
    user=user_id,item=item_id,time=timestamp --rating rating --min-rating 4 --peers all
    """
    chosen = chosen_peers(peers)
    stream, skipped = read_stream(data, map, rating, min_rating, limit, repeat)
    if not len(stream):
        raise UserError(f"{data}: no row has a user and an item and passes the filters")
    from online.prequential import report

    found = report(stream, run(stream, chosen)) | {"skipped": skipped}
    print(json.dumps(found) if as_json else table(found))


def chosen_peers(names: str) -> list[str]:
    """The peers to run; popularity is always there.

    Raises:
        UserError: there is no such peer.
    """
    if names == "none":
        return ["popularity"]
    wanted = set(PEERS if names == "all" else filter(None, map_names(names))) | {"popularity"}
    unknown = sorted(wanted - set(PEERS))
    if unknown:
        raise UserError(f"--peers {','.join(unknown)}: there are all, none, {', '.join(PEERS)}")
    return [name for name in PEERS if name in wanted]


def map_names(names: str) -> list[str]:
    """A comma-separated list without its spaces."""
    return [name.strip() for name in names.split(",")]


def read_stream(
    data: Path,
    mapped: str,
    rating: str | None,
    min_rating: float | None,
    limit: int,
    repeat: bool,
) -> tuple[Stream, int]:
    """The file as a stream, and the rows left out because user or item is missing or unreadable.

    Raises:
        UserError: the file or a column cannot be used.
    """
    from online.prequential_stream import StreamBuilder
    from streams.replay_columns import choose, parse_map
    from streams.replay_rows import RowFile

    chosen = parse_map(mapped)
    if rating is not None:
        chosen["rating"] = rating
    needed = ["user", "item"] + (["rating"] if min_rating is not None else [])
    builder = StreamBuilder(repeat, limit)
    with RowFile(data) as rows:
        columns = choose(rows.columns, chosen, needed).of
        skipped = _fill(builder, rows, columns, min_rating)
    return builder.build(), skipped


def _fill(builder: Any, rows: RowFile, columns: dict[str, str], min_rating: float | None) -> int:
    skipped = 0
    last = 0.0
    for row in rows:
        if builder.full:
            break
        user, item = (_id(row.values.get(columns[field])) for field in ("user", "item"))
        if row.problem or not user or not item:
            skipped += 1
            continue
        if min_rating is not None and not _number(row.values.get(columns["rating"])) >= min_rating:
            continue
        last = _seconds(row.values.get(columns.get("time", "")), last)
        builder.add(user, item, last)
    return skipped


def _id(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _number(value: Any) -> float:
    """NaN, which passes no filter, for what is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _seconds(value: Any, otherwise: float) -> float:
    """Only decides who is silent longest; the order is the file's."""
    from streams.replay_times import parse_time

    try:
        return parse_time(value).timestamp()
    except ValueError:
        return otherwise


def run(stream: Stream, peers: list[str]) -> dict[str, Evaluated]:
    """The learner, then the peers, each over the whole stream, with a progress bar on stderr."""
    from online.prequential import Springtide, evaluate
    from online.prequential_popularity import PopularityPeer, decayed
    from online.warm_up import warm_up

    warm_up()
    found = {}
    with _bar() as bar:
        for name in ("springtide", *peers):
            task = bar.add_task(name, total=len(stream))

            def advance(done: int, task: Any = task) -> None:
                bar.advance(task, done)

            if name == "springtide":
                found[name] = evaluate(stream, Springtide(stream), advance)
                continue
            peer = decayed(stream) if name == "decayed-popularity" else PopularityPeer(stream)
            peer.learn(0, 0)  # compiles
            found[name] = evaluate(stream, peer, advance)._replace(ranks=peer.best()[1])
    return found


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def table(found: dict[str, Any]) -> str:
    """What a person reads."""
    lines = [
        f"{found['events']:,} events, {found['users']:,} users, {found['items']:,} items, "
        f"{found['repeats']:,} repeats, {found['skipped']:,} rows left out",
        f"{'last half':<20} {'HR@10':>15} {'NDCG@10':>15} {'MRR@20':>7} "
        f"{'µs/event':>9} {'µs/list':>8}",
    ]
    for name, method in found["methods"].items():
        last = method["last_half"]
        lines.append(
            f"{name:<20} {last['hr10']:>6.4f} ± {last['hr10_se']:.4f} "
            f"{last['ndcg10']:>6.4f} ± {last['ndcg10_se']:.4f} {last['mrr20']:>7.4f} "
            f"{method['update_us']:>9.1f} {method['list_us']:>8.1f}"
        )
    return "\n".join(lines)
