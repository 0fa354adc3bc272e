"""`springtide evaluate lists`: the learner and its peers on a file, test-then-learn."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from infra.settings import UserError

PLAIN = {"tfidf", "none"}  # item vectors that need no embeddings
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
Peers = Annotated[
    str,
    typer.Option(
        help="all, none, or names: popularity, decayed-popularity, isgd, eals, item-cosine, "
        "markov, als, als-fold-in, bpr, ease, ease-fresh."
    ),
]
Plot = Annotated[
    list[Path] | None,
    typer.Option(help="Running HR@10 and NDCG@10 as OUT.png or OUT.html; may be given again."),
]
Resume = Annotated[
    Path | None,
    typer.Option(help="Keep finished methods here, for this run and later ones (default: in "
                      "DATA_DIR/evaluations, until the run is through)."),
]  # fmt: skip

ItemFile = Annotated[
    Path | None, typer.Option("--items", help="CSV or JSONL of the items: what they say.")
]
ItemText = Annotated[str, typer.Option(help="Columns of words: title,description.")]
ItemTags = Annotated[str, typer.Option(help="Columns of tags: level,topics; lists joined by |.")]
ItemVectors = Annotated[
    str,
    typer.Option(
        help="What is compared: both, tfidf, raw, whitened, half-whitened, none; all, or several: "
        "the learner runs with each, the first is its own row."
    ),
]
Ranker = Annotated[
    Path | None,
    typer.Option(
        "--text-ranker", help="One more run, with the item vectors of this `train text-ranker`."
    ),
]
Open = Annotated[
    Literal["seen", "open"],
    typer.Option(
        metavar="<str>",
        help="seen, or open: items are candidates from the start, not from their first event.",
    ),
]


def lists(
    data: Data,
    map: Map = "",
    rating: Rating = None,
    min_rating: MinRating = None,
    limit: Limit = 0,
    repeat: Repeat = False,
    items: ItemFile = None,
    item_text: ItemText = "",
    item_tags: ItemTags = "",
    item_vectors: ItemVectors = "both",
    text_ranker: Ranker = None,
    catalogue: Open = "seen",
    peers: Peers = "popularity",
    plot: Plot = None,
    resume: Resume = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Rank every interaction among all items before learning it; HR@10, NDCG@10, MRR@20.

    All items seen so far are ranked, except those that the user already has. An item never seen
    before is a miss, and so is a score that is not finite; ties count against us. Filters come
    first, then repeats of a pair are dropped and counted, then --limit. "last_half" is the second
    half of what remains, with standard errors clustered by user. Batch peers are trained anew
    every 5 % of the stream; where a peer has several settings, all run and the best on the last
    half is reported. A run that was interrupted goes on: methods that had finished are kept.

    With --items the learner knows what items say: by TF-IDF of words and tags and, where there
    is --item-text, the frozen language model's embeddings, which are kept for the next run.

    Example: springtide evaluate lists --data ratings.csv.gz --map
    user=user_id,item=item_id,time=timestamp --rating rating --min-rating 4 --peers all
    --plot quality.html
    """
    from infra.settings import load_settings
    from streams.lists_file import Filters, read_stream
    from streams.lists_items import (
        ItemColumns,
        chosen_vectors,
        names_in,
        read_items,
        tell_described,
    )
    from streams.lists_kept import Kept, fingerprint
    from streams.lists_plot import check_plots, write_plots
    from streams.lists_run import Catalogue, chosen_peers, left_out, run
    from streams.replay_columns import parse_map

    chosen = chosen_peers(peers)
    compared = chosen_vectors(item_vectors)
    check_plots(plot or [])
    stream, skipped = read_stream(data, Filters(map, rating, min_rating, limit, repeat))
    if not len(stream):
        raise UserError(f"{data}: no row has a user and an item and passes the filters")
    without = left_out(stream, chosen, peers == "all")
    for name, why in without.items():
        print(f"{name} is left out: it {why}", file=sys.stderr)
    folder = load_settings().data_dir / "evaluations"
    told = None
    if items is not None:
        columns = ItemColumns(
            names_in(item_text), names_in(item_tags), parse_map(map).get("item", "")
        )
        said = read_items(items, columns, None if set(compared) <= PLAIN else folder)
        tell_described(items, said.ids, stream.item_ids)
        if text_ranker and not columns.text:
            raise UserError("--text-ranker reads words: name their columns with --item-text")
        ranked = read_items(items, columns, folder, text_ranker) if text_ranker else None
        told = Catalogue(said, catalogue == "open", compared, ranked)
    elif item_text or item_tags or text_ranker or catalogue == "open" or item_vectors != "both":
        raise UserError(
            "--item-text, --item-tags, --item-vectors, --text-ranker, --catalogue need --items FILE"
        )
    mark = fingerprint(
        stream, f"{catalogue} {compared[0]}", *([told.items, told.ranked] if told else [])
    )
    kept = Kept(resume or folder / f"{mark}.npz", mark)
    evaluated = run(stream, [name for name in chosen if name not in without], kept, told)

    from online.prequential import ratios, report

    found = report(stream, evaluated)
    found |= {"skipped": skipped, "left_out": without, "ratios": ratios(found["methods"])}
    write_plots(plot or [], data.name, stream, evaluated, found)
    print(json.dumps(found) if as_json else table(found))
    if resume is None:
        kept.remove()


def table(found: dict[str, Any]) -> str:
    """What a person reads."""
    lines = [
        f"{found['events']:,} events, {found['users']:,} users, {found['items']:,} items, "
        f"{found['repeats']:,} repeats, {found['skipped']:,} rows left out",
        f"{'last half':<28} {'HR@10':>15} {'NDCG@10':>15} {'MRR@20':>7} "
        f"{'µs/event':>9} {'µs/list':>8}",
    ]
    for name, method in found["methods"].items():
        last = method["last_half"]
        lines.append(
            f"{name:<28} {last['hr10']:>6.4f} ± {last['hr10_se']:.4f} "
            f"{last['ndcg10']:>6.4f} ± {last['ndcg10_se']:.4f} {last['mrr20']:>7.4f} "
            f"{method['update_us']:>9.1f} {method['list_us']:>8.1f}  {method.get('setting', '')}"
        )
    lines += _by_item_events(found["methods"])
    times, best = found["ratios"]["ndcg10"], found["ratios"]["best_peer"]
    if best in times:
        lines.append(f"NDCG@10 of springtide is {times[best]:.2f} times that of {best}")
    return "\n".join(line.rstrip() for line in lines)


def _by_item_events(methods: dict[str, Any]) -> list[str]:
    """The last half by how often the item had been taken, of the learner and its variants."""
    names = [name for name in methods if name.startswith("springtide")]
    groups = list(methods[names[0]]["by_item_events"])
    lines = [f"{'by item events':<28}" + "".join(f"{group:>16}" for group in groups)]
    for name in names:
        by = methods[name]["by_item_events"]
        cells = (f"{by[group]['hr10']:.4f} / {by[group]['ndcg10']:.4f}" for group in groups)
        lines.append(f"{name:<28}" + "".join(f"{cell:>16}" for cell in cells))
    return lines
