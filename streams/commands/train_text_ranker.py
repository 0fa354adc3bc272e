"""`springtide train text-ranker`: what a user takes next, from the texts of what he took."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.settings import UserError, load_settings
from streams.commands.classifier_options import CacheDir, Threads
from streams.commands.evaluate_lists import ItemTags, ItemText, Map, MinRating, Rating
from streams.commands.progress import progress_bar
from streams.commands.train_factors import Data, FromClickHouse

if TYPE_CHECKING:
    from models.text_ranker.artifact import Manifest
    from models.text_ranker.evaluation import Quality
    from models.text_ranker.plan import Plan
    from streams.lists_items import ItemColumns
    from streams.text_ranker_history import Told

Items = Annotated[Path, typer.Option(help="CSV or JSONL of the items: what they say.")]


def text_ranker(
    items: Items,
    data: Data = None,
    from_clickhouse: FromClickHouse = False,
    tenant: Annotated[str, typer.Option(help="Whose history.")] = "default",
    map: Map = "",
    rating: Rating = None,
    min_rating: MinRating = None,
    item_text: ItemText = "title",
    item_tags: ItemTags = "",
    out: Annotated[Path, typer.Option(help="Folder for the artifact.")] = Path(
        "artifacts/text-ranker"
    ),
    share: Annotated[
        float, typer.Option(min=0.05, max=1, help="Of the events, the first; the rest measures.")
    ] = 0.8,
    layers: Annotated[
        int, typer.Option(min=0, max=12, help="Upper layers trained; 0: the projection alone.")
    ] = 3,
    passes: Annotated[int, typer.Option(min=1, max=1_000, help="Over the texts, at most.")] = 12,
    patience: Annotated[int, typer.Option(min=1, help="Passes without a gain until it stops.")] = 3,
    hard: Annotated[int, typer.Option(min=0, max=100, help="Hard negatives of a pair.")] = 0,
    correction: Annotated[
        float, typer.Option(min=0, max=1, help="How much of log Q is taken off the scores.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of weights, batches and negatives.")] = 0,
    threads: Threads = None,
    cache_dir: CacheDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Fine-tune the language model's item vectors on who took what next: two towers, LoRA.

    A user is the mean of his items' vectors, the later the heavier; the item that he took next is
    the label. The last 15 % of the events that may be seen stop the training, by the recall of
    items that it hardly knows; what comes after them measures it, beside the frozen vectors
    and TF-IDF. The same command goes on after the last whole pass where a run was interrupted.

    Examples:

      springtide train text-ranker --data stream.csv.gz --items items.csv.gz --item-text title
      --item-tags categories,level --share 0.5 --out my-ranker

      springtide train text-ranker --from-clickhouse --items items.csv --item-text title,description

    Then try it: springtide evaluate text-ranker my-ranker --help
    """
    from models.errors import ModelError
    from models.text_ranker.plan import Plan
    from models.training import check_writable
    from models.trunk import default_cache_dir, trunk_folder
    from streams.lists_items import ItemColumns, names_in
    from streams.replay_columns import parse_map

    try:
        check_writable(out)
        trunk = trunk_folder(cache_dir or default_cache_dir())
        columns = ItemColumns(
            names_in(item_text), names_in(item_tags), parse_map(map).get("item", "")
        )
        told = _told(data, from_clickhouse, tenant, (map, rating, min_rating), items, columns)
        plan = Plan(
            layers=layers, passes=passes, patience=patience, hard=hard, strength=correction,
            seed=seed,
        )  # fmt: skip
        manifest = _trained(told, trunk, plan, share, out, threads)
    except ModelError as error:
        raise UserError(str(error)) from None
    print(json.dumps(_as_json(manifest, out)) if as_json else _report(manifest, out))


def _told(
    data: Path | None, from_clickhouse: bool, tenant: str,
    filters: tuple[str, str | None, float | None], items: Path, columns: ItemColumns,
) -> Told:  # fmt: skip
    from infra.warehouse import Warehouse
    from streams import text_ranker_history as history
    from streams.lists_file import Filters, read_stream

    if (data is None) == (not from_clickhouse):
        raise UserError("name a file with --data, or say --from-clickhouse")
    if data is not None:
        stream, _ = read_stream(data, Filters(*filters))
        return history.told(stream, items, columns)
    warehouse = Warehouse(load_settings().clickhouse_url.get_secret_value())
    try:
        return history.told(history.from_clickhouse(warehouse, tenant), items, columns)
    finally:
        warehouse.close()


def _trained(
    told: Told, trunk: Path, plan: Plan, share: float, out: Path, threads: int | None
) -> Manifest:
    import torch

    from streams.text_ranker_run import run

    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(plan.seed)
    with progress_bar("told") as bar:
        task = bar.add_task(f"reading {len(told.texts):,} texts", total=None, told="")

        def tell(done: int, steps: int, loss: float, latest: Quality) -> None:
            said = f"loss {loss:.3f}, validation recall@50 {latest.recall50:.4f}"
            bar.update(task, description="training", completed=done, total=steps, told=said)

        return run(told, trunk, plan, share, out, tell)


def _as_json(manifest: Manifest, out: Path) -> dict[str, object]:
    import msgspec

    fields = ("n", "recall50", "ndcg10", "se")

    def named(of: dict[str, Quality]) -> dict[str, dict[str, float]]:
        return {name: dict(zip(fields, each, strict=True)) for name, each in of.items()}

    report = {group: named(of) for group, of in manifest.report.items()}
    told: dict[str, object] = msgspec.to_builtins(manifest)
    told |= {"validation": named(manifest.validation), "report": report}
    return {"artifact": str(out), "version": manifest.version} | told


def _report(manifest: Manifest, out: Path) -> str:
    lines = [
        f"{manifest.pairs:,} pairs, {manifest.items:,} items; best pass {manifest.best} of "
        f"{manifest.passes}, {manifest.train_seconds:.0f} s; validation recall@50 "
        f"{manifest.validation['before'].recall50:.4f} before, "
        f"{manifest.validation['after'].recall50:.4f} after",
        f"{'recall@50 / NDCG@10':<20}"
        + "".join(f"{f'{group} ({next(iter(of.values())).n:,})':>26}"
                  for group, of in manifest.report.items()),
    ]  # fmt: skip
    for name in next(iter(manifest.report.values())):
        cells = (of[name] for of in manifest.report.values())
        lines.append(
            f"{name:<20}"
            + "".join(f"{f'{each.recall50:.4f} / {each.ndcg10:.4f}':>26}" for each in cells)
        )
    lines.append(f"Artifact: {out}. Curves: tensorboard --logdir {out / 'tensorboard'}")
    return "\n".join(lines)
