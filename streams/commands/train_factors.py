"""`springtide train factors`: item factors of `implicit`, for running learners to start from."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.settings import UserError, load_settings
from streams.commands.progress import progress_bar

if TYPE_CHECKING:
    from online.warm_start import ItemFactors
    from streams.history import History


class Model(StrEnum):
    """Models of `implicit`."""

    ALS = "als"
    BPR = "bpr"


EPOCHS = {Model.ALS: 15, Model.BPR: 100}

Data = Annotated[Path | None, typer.Option(help="CSV or JSONL of interactions, gzipped or not.")]
FromClickHouse = Annotated[
    bool, typer.Option("--from-clickhouse", help="The history in SPRINGTIDE_CLICKHOUSE_URL.")
]


def factors(
    data: Data = None,
    from_clickhouse: FromClickHouse = False,
    model: Annotated[Model, typer.Option(help="als or bpr.")] = Model.ALS,
    out: Annotated[str, typer.Option(help="Folder or fsspec URL.")] = "artifacts/factors",
    map: Annotated[str, typer.Option(help="Which column is what: user=…,item=…")] = "",
    rating: Annotated[str | None, typer.Option(help="Column of ratings.")] = None,
    min_rating: Annotated[float | None, typer.Option(help="Leave out lower ratings.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose history, and whose learner.")] = "default",
    width: Annotated[
        int, typer.Option("--factors", min=1, help="As wide as the learner's: 64.")
    ] = 64,
    epochs: Annotated[int, typer.Option(min=0, help="0: what the model needs.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the start values.")] = 0,
    forget: Annotated[
        bool, typer.Option(help="All items start from these: what embeddings learned is gone.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Train item factors and write them where workers look for them.

    Workers with SPRINGTIDE_FACTORS_URL=OUT take a new version over within seconds, without a stop:
    an item with fewer than five interactions there starts from its factors; others keep their own.
    With --forget every item does, so that the embeddings hold nothing of users who were erased
    before: run it every night (docs/erasure.md).

    Examples:

      springtide train factors --data ratings.csv --rating rating --min-rating 4 --out factors

      springtide train factors --from-clickhouse --forget --out s3://bucket/factors
    """
    from online import warm_start
    from online.checkpoint import CheckpointStore

    history, source = _history(data, from_clickhouse, map, rating, min_rating, tenant)
    store = CheckpointStore(out)  # a folder that cannot be made is told before the training
    began = time.perf_counter()
    found = _fit(history, model, width, seed, epochs or EPOCHS[model])
    manifest = warm_start.Manifest(
        tenant=tenant,
        model=model.value,
        factors=width,
        events=history.events,
        users=history.users,
        items=len(history.item_ids),
        trained_at=time.time(),
        train_seconds=round(time.perf_counter() - began, 2),
        source=source,
        library=f"implicit {version('implicit')}",
        forget=forget,
    )
    made = warm_start.write(store, found, manifest)
    if as_json:
        import msgspec

        print(json.dumps({"artifact": out, "version": made, **msgspec.to_builtins(manifest)}))
        return
    print(
        f"{model.value}, {width} factors of {manifest.items:,} items, from {history.events:,} "
        f"interactions of {history.users:,} users in {manifest.train_seconds:.1f} s\n"
        f"Workers take it over with SPRINGTIDE_FACTORS_URL={out}"
    )


def _history(
    data: Path | None, from_clickhouse: bool, mapped: str, rating: str | None,
    min_rating: float | None, tenant: str,
) -> tuple[History, str]:  # fmt: skip
    from infra.warehouse import Warehouse
    from streams import history

    if (data is None) == (not from_clickhouse):
        raise UserError("name a file with --data, or say --from-clickhouse")
    if data is not None:
        return history.from_file(data, mapped, rating, min_rating), data.name
    warehouse = Warehouse(load_settings().clickhouse_url.get_secret_value())
    try:
        return history.from_clickhouse(warehouse, tenant), "clickhouse"
    finally:
        warehouse.close()


def _fit(history: History, model: Model, width: int, seed: int, epochs: int) -> ItemFactors:
    from online.warm_start import fit

    with progress_bar() as bar:
        task = bar.add_task(f"implicit, {model.value}", total=epochs)
        return fit(
            history.user, history.item, history.weight, history.item_ids, model.value, width,
            seed, epochs, lambda done: bar.update(task, completed=done),
        )  # fmt: skip
