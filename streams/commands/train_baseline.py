"""`springtide train baseline`: the field's classic rankers, to measure against."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.settings import UserError
from streams.commands.progress import progress_bar

if TYPE_CHECKING:
    from models.rankers.artifact import Manifest
    from models.rankers.evaluation import Quality
    from models.rankers.interactions import Split
    from models.rankers.training import Plan, Trained


class Model(StrEnum):
    """Matrix factorisation, or a small MLP."""

    MF = "mf"
    MLP = "mlp"


# An MLP meets every negative in its hidden layers; a product costs next to nothing.
NEGATIVES = {Model.MF: 256, Model.MLP: 32}


class Loss(StrEnum):
    """Pairwise, or over all negatives at once."""

    BPR = "bpr"
    CROSS_ENTROPY = "cross-entropy"


def baseline(
    data: Annotated[Path, typer.Option(help="CSV or JSONL of interactions, in order of time.")],
    model: Annotated[Model, typer.Option(help="mf: P·Qᵀ; mlp: two hidden layers.")] = Model.MF,
    loss: Annotated[Loss, typer.Option(help="bpr or cross-entropy.")] = Loss.BPR,
    out: Annotated[Path, typer.Option(help="Folder for the artifact.")] = Path(
        "artifacts/baseline"
    ),
    map: Annotated[str, typer.Option(help="Which column is what: user=…,item=…")] = "",
    rating: Annotated[str | None, typer.Option(help="Column of ratings.")] = None,
    min_rating: Annotated[float | None, typer.Option(help="Leave out lower ratings.")] = None,
    width: Annotated[int, typer.Option("--factors", min=2, help="Width of the embeddings.")] = 64,
    epochs: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without a gain until it stops.")] = 3,
    seed: Annotated[int, typer.Option(help="Of weights, batches and negatives.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Train a classic ranker and report HR@10 and NDCG@10 over all items, beside popularity.

    Each user's last item is the test and the one before it the validation, on which training
    stops early; users with fewer than three items train only. That split is the field's custom
    and kinder than a stream, where nothing may be learned from after the moment of the list:
    `springtide evaluate lists` is the fair contest.

    Example: springtide train baseline --data ratings.csv --model mlp --loss cross-entropy --out mlp
    """
    from models.rankers.interactions import split_by_time
    from models.rankers.training import Plan
    from streams.history import from_file

    history = from_file(data, map, rating, min_rating)
    split = split_by_time(history.user, history.item)
    if not (split.test >= 0).any() or not len(split.users):
        raise UserError(f"{data}: no user has three different items or more, so nothing can test")
    plan = Plan(
        model=model.value,
        loss=loss.value,
        width=width,
        epochs=epochs,
        patience=patience,
        negatives=NEGATIVES[model],
        seed=seed,
    )
    manifest = _train(split, plan, out, history.item_ids)
    if as_json:
        print(json.dumps(_as_json(manifest, out)))
    else:
        print(_report(manifest, out))


def _train(split: Split, plan: Plan, out: Path, item_ids: list[str]) -> Manifest:
    from models.rankers import artifact, evaluation
    from models.rankers.training import train

    with progress_bar("told") as bar:
        task = bar.add_task(f"{plan.model}, {plan.loss}", total=plan.epochs, told="")

        def tell(epoch: int, mean_loss: float, quality: Quality) -> None:
            told = f"loss {mean_loss:.3f}, validation NDCG@10 {quality.ndcg10:.4f}"
            bar.update(task, completed=epoch, told=told)

        trained: Trained = train(split, plan, out / "tensorboard", tell)
        bar.update(task, total=trained.epochs)
    manifest = artifact.Manifest(
        plan=plan,
        interactions=len(split.users),
        users=split.user_count,
        items=split.item_count,
        best_epoch=trained.best_epoch,
        epochs=trained.epochs,
        train_seconds=round(trained.seconds, 1),
        validation=trained.validation,
        test=evaluation.evaluate(trained.ranker, split, split.test),
        popularity=evaluation.popularity(split, split.test),
    )
    artifact.save(out, trained.ranker, manifest, item_ids)
    return manifest


def _as_json(manifest: Manifest, out: Path) -> dict[str, object]:
    import msgspec

    told = msgspec.to_builtins(manifest)
    methods = {name: _named(told.pop(name)) for name in ("test", "popularity")}
    methods = {manifest.plan.model: methods["test"], "popularity": methods["popularity"]}
    told["validation"] = _named(told["validation"])
    return {"artifact": str(out), "methods": methods, **told}


def _named(quality: list[float]) -> dict[str, float]:
    return dict(zip(("hr10", "ndcg10"), quality, strict=True))


def _report(manifest: Manifest, out: Path) -> str:
    plan, test, popular = manifest.plan, manifest.test, manifest.popularity
    return "\n".join([
        f"{manifest.interactions:,} interactions, {manifest.users:,} users, "
        f"{manifest.items:,} items; best epoch {manifest.best_epoch} of {manifest.epochs}, "
        f"{manifest.train_seconds:.0f} s",
        f"{'test, all items':<20} {'HR@10':>7} {'NDCG@10':>8}",
        f"{plan.model + ', ' + plan.loss:<20} {test.hr10:>7.4f} {test.ndcg10:>8.4f}",
        f"{'popularity':<20} {popular.hr10:>7.4f} {popular.ndcg10:>8.4f}",
        f"Artifact: {out}. Curves: tensorboard --logdir {out / 'tensorboard'}",
    ])  # fmt: skip
