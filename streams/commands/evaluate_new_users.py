"""`springtide evaluate new-users`: what declared interests bring to users with little history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.settings import UserError
from streams.commands.evaluate_lists import (
    PLAIN,
    Data,
    ItemTags,
    ItemText,
    Limit,
    Map,
)

if TYPE_CHECKING:
    from online.prequential_stream import Stream
    from streams.lists_items import ItemColumns

Items = Annotated[Path, typer.Option(help="CSV or JSONL of the items: what they say.")]
Interests = Annotated[
    str, typer.Option(help="Columns whose tags are declared; default: the first of --item-tags.")
]
Count = Annotated[int, typer.Option(min=1, max=20, help="Interests that a user declares.")]
Seed = Annotated[int, typer.Option(help="Of the draws.")]
Vectors = Annotated[
    str, typer.Option(help="What is compared: both, tfidf, raw, whitened, half-whitened, none.")
]


def new_users(
    data: Data,
    items: Items,
    map: Map = "",
    limit: Limit = 0,
    item_text: ItemText = "",
    item_tags: ItemTags = "",
    item_vectors: Vectors = "both",
    interests: Interests = "",
    count: Count = 3,
    seed: Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """What declared interests bring, by how many events a user has had: HR@10 and NDCG@10.

    Nobody knows what the users of a file would have declared, so an ORACLE says it: before each
    event, tags of items that the user takes only after it, drawn at random. Real users know
    themselves less well, or better; the item that is ranked is never among the items drawn from.
    Ranked are the events of the last half of users with fewer than 20, by the popular list, by
    the blend without the interests and by the blend with them; everything else is as in
    `springtide evaluate lists`. Tags that a tenth of the items have are not declared.

    Example: springtide evaluate new-users --data stream.csv.gz --items items.csv.gz
    --map user=user_id,item=item_id,time=timestamp --item-text title
    --item-tags categories,level,language
    """
    from infra.settings import load_settings
    from online.config import LearnerConfig
    from online.learner import Learner
    from online.prequential_items import Publisher
    from online.prequential_new_users import Oracle, evaluate, report
    from streams.lists_file import Filters, read_stream
    from streams.lists_items import ItemColumns, chosen_vectors, names_in, read_items
    from streams.lists_run import one_bar
    from streams.replay_columns import parse_map

    compared = chosen_vectors(item_vectors)
    if len(compared) > 1:
        raise UserError(f"--item-vectors {item_vectors}: one at a time here")
    stream, skipped = read_stream(data, Filters(map, limit=limit))
    if not len(stream):
        raise UserError(f"{data}: no row has a user and an item")
    columns = ItemColumns(names_in(item_text), names_in(item_tags), parse_map(map).get("item", ""))
    folder = load_settings().data_dir / "evaluations"
    said = read_items(items, columns, None if set(compared) <= PLAIN else folder)
    declared = names_in(interests) or columns.tags[:1]
    tags = _tags(items, ItemColumns(tags=declared, item=columns.item), stream)
    learner = Learner(LearnerConfig(compared=compared[0]))
    publisher = Publisher(stream, said, at_start=False)
    with one_bar("new users", len(stream)) as advance:
        oracle = Oracle(stream, tags, count, seed)
        ranks = evaluate(stream, publisher, tags, oracle, learner, advance)
    found = report(ranks) | {"events": len(stream), "skipped": skipped, "interests": count}
    print(json.dumps(found) if as_json else table(found))


def _tags(items: Path, columns: ItemColumns, stream: Stream) -> list[list[str]]:
    """The tags of each of the stream's items that may be declared."""
    from streams.lists_items import read_tags

    if not columns.tags:
        raise UserError("--interests: say which columns of the items hold what users may declare")
    of = read_tags(items, columns)
    tags = [of.get(item, []) for item in stream.item_ids]
    if not any(tags):
        raise UserError(f"{items}: no item of the stream has {' or '.join(columns.tags)}")
    return tags


def table(found: dict[str, Any]) -> str:
    """What a person reads."""
    lines = [
        f"{found['evaluated']:,} of {found['events']:,} events ranked; an oracle: "
        f"{found['oracle']}",
        f"{'earlier events':<16}{'n':>7}  {'popularity':>16}{'without':>16}{'with':>16}"
        f"  {'NDCG@10 gained':>16}",
    ]
    for name, group in found["by_earlier_events"].items():
        cells = (f"{m['hr10']:.4f} / {m['ndcg10']:.4f}" for m in group["methods"].values())
        lines.append(
            f"{name:<16}{group['n']:>7,}  "
            + "".join(f"{cell:>16}" for cell in cells)
            + f"  {group['gained_ndcg10']:>+8.4f} ± {group['gained_ndcg10_se']:.4f}"
        )
    if times := found["first_event_ratio"].get("popularity"):
        lines.append(f"NDCG@10 of the first event is {times:.2f} times popularity's")
    return "\n".join(lines)
