"""`springtide evaluate text-ranker`: may it serve? Promoted only where the lists get better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.settings import UserError
from streams.commands.evaluate_lists import Data, ItemTags, ItemText, Map, MinRating, Rating


def text_ranker(
    ranker: Annotated[Path, typer.Argument(help="The folder of `train text-ranker`'s --out.")],
    data: Data,
    items: Annotated[Path, typer.Option(help="CSV or JSONL of the items: what they say.")],
    map: Map = "",
    rating: Rating = None,
    min_rating: MinRating = None,
    item_text: ItemText = "title",
    item_tags: ItemTags = "",
    promote: Annotated[
        Path | None, typer.Option(help="The folder of versions that it enters where NDCG rises.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Run the learner with the frozen item vectors and with the ranker's; promote what is better.

    Measured on the events that stopped the ranker's training, each ranked before it is learned,
    never on what came later. Where NDCG@10 rises by more than its standard error the ranker enters
    --promote and serves from there (SPRINGTIDE_TEXT_RANKER); otherwise the command ends with 1.

    Example: springtide evaluate text-ranker my-ranker --data stream.csv.gz --items items.csv.gz
    --item-tags categories,level --promote text-rankers
    """
    from infra.settings import load_settings
    from models import versions
    from models.errors import ModelError
    from models.text_ranker.artifact import read_manifest
    from streams.lists_file import Filters, read_stream
    from streams.lists_items import ItemColumns, names_in, read_items
    from streams.lists_run import one_bar
    from streams.replay_columns import parse_map
    from streams.text_ranker_gate import compare, measured_on

    try:
        manifest = read_manifest(ranker)
        stream, first = measured_on(
            read_stream(data, Filters(map, rating, min_rating))[0], manifest
        )
        columns = ItemColumns(
            names_in(item_text), names_in(item_tags), parse_map(map).get("item", "")
        )
        folder = load_settings().data_dir / "evaluations"
        told = [read_items(items, columns, folder, made_by) for made_by in (None, ranker)]
        with one_bar("with and without", 2 * len(stream)) as advance:
            found = compare(stream, first, told[0], told[1], advance)
        found |= {"version": manifest.version, "promoted": False}
        if promote is not None and found["rises"]:
            versions.promote(promote, str(ranker))
            found["promoted"] = True
    except ModelError as error:
        raise UserError(str(error)) from None
    print(json.dumps(found) if as_json else table(found))
    if not found["rises"]:
        raise typer.Exit(1)


def table(found: dict[str, Any]) -> str:
    """What a person reads."""
    lines = [f"{'by item events':<16}{'n':>8}{'frozen':>18}{'text ranker':>18}{'NDCG gained':>20}"]
    for name in ("all", "0", "1-4", "5-19", "20+"):
        of = found[name]
        cells = "".join(
            f"{of[m]['hr10']:>9.4f} / {of[m]['ndcg10']:.4f}" for m in ("frozen", "text-ranker")
        )
        gained = f"{of['gained_ndcg10']:+.4f} ± {of['gained_ndcg10_se']:.4f}"
        lines.append(f"{name:<16}{of['n']:>8,}{cells}{gained:>20}")
    lines.append(
        f"{found['version']}: the lists get {'better' if found['rises'] else 'no better'}"
        f"{', promoted' if found['promoted'] else ''}"
    )
    return "\n".join(lines)
