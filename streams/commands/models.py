"""`springtide models`: which version of the classifier or a text ranker serves, and exports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from infra.settings import UserError, load_settings
from streams.commands.classifier_options import CacheDir, Model, trunk_for

if TYPE_CHECKING:
    from models.versions import Version

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Registry = Annotated[
    Path | None, typer.Option(help="The folder of versions [default: SPRINGTIDE_MODEL].")
]
T = TypeVar("T")


@app.callback()
def group() -> None:
    """Which version of the classifier serves, or of a text ranker, by the folder that is named.

    A running server takes a change over in a second.

    Example: springtide models promote my-model --registry models
    """


@app.command("list")
def listing(
    registry: Registry = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """The versions, the one that serves first, with what they were trained on and scored.

    One that is missing or altered says so.

    Example: springtide models list --registry models
    """
    from models import versions

    def work() -> list[dict[str, Any]]:
        found = versions.listed(_folder(registry))
        return [{"version": v.version, "role": v.role} | _told(v) for v in found]

    rows = _or_user_error(work)
    if as_json:
        print(json.dumps({"versions": rows}))
        return
    for row in rows:
        print(f"{row['version']}  {row['role'] or '-':<8}  {_in_words(row)}")


def _told(version: Version) -> dict[str, Any]:
    """What a manifest says of its training, by the kind of the artifact; or what is the matter."""
    from models import registry
    from models.errors import ArtifactError
    from models.text_ranker import artifact

    if version.problem:
        return {"problem": version.problem}
    try:
        if registry.kind_of(version.folder) == artifact.TRAINED:
            ranker = artifact.read_manifest(version.folder)
            recall = {name: each.recall50 for name, each in ranker.validation.items()}
            return {"trained_pairs": ranker.pairs, "validation_recall50": recall}
        manifest = registry.read_manifest(version.folder)
    except ArtifactError as error:
        return {"problem": str(error)}
    return {
        "trained_rows": sum(manifest.trained_rows.values()),
        "accuracy": {name: scores.accuracy for name, scores in manifest.scores.items()},
    }


def _in_words(row: dict[str, Any]) -> str:
    if "problem" in row:
        return f"cannot be used: {row['problem']}"
    if "trained_pairs" in row:
        before, after = (f"{row['validation_recall50'][when]:.3f}" for when in ("before", "after"))
        return f"{row['trained_pairs']:>7,} pairs  recall@50 {before} → {after}"
    accuracies = row["accuracy"].values()
    mean = f"mean accuracy {sum(accuracies) / len(accuracies):.3f}" if accuracies else "no scores"
    return f"{row['trained_rows']:>7,} rows  {mean}"


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="A version, its beginning, or an artifact folder.")],
    registry: Registry = None,
    cache_dir: CacheDir = None,
) -> None:
    """Let a version serve; an artifact's folder is taken in first.

    It is loaded and asked before (some seconds): one that cannot be used changes nothing.

    Example: springtide models promote my-model --registry models
    """
    from models import versions

    def work() -> str:
        return versions.promote(_folder(registry), name, _trial(cache_dir))

    print(_or_user_error(work))


@app.command()
def rollback(registry: Registry = None) -> None:
    """Let the version before the current one serve again.

    Example: springtide models rollback --registry models
    """
    from models import versions

    print(_or_user_error(lambda: versions.roll_back(_folder(registry))))


@app.command()
def shadow(
    name: Annotated[
        str | None, typer.Argument(help="As for promote; nothing ends the shadow.")
    ] = None,
    registry: Registry = None,
    cache_dir: CacheDir = None,
) -> None:
    """Score with a second version beside the one that serves, and count where they disagree.

    Example: springtide models shadow my-new-model --registry models
    """
    from models import versions

    def work() -> str:
        return versions.run_in_shadow(_folder(registry), name, _trial(cache_dir))

    print(_or_user_error(work))


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    kind: Annotated[
        Literal["fp32", "bf16", "int8"],
        typer.Option("--as", help="int8 is for OpenVINO, the others for transformers."),
    ] = "bf16",
    model: Model = None,
    cache_dir: CacheDir = None,
) -> None:
    """Write the network, adapter merged, for other programs, with its tokenizer and head.

    Example: springtide models export sentiment-int8 --as int8
    """

    def work() -> Path:
        from models.export import export as written

        artifact = load_settings(model=model).model
        return written(artifact, trunk_for(artifact, cache_dir), out, kind)

    print(_or_user_error(work))


def _trial(cache_dir: Path | None) -> Callable[[Path], None]:
    from models.trial import try_out
    from models.trunk import default_cache_dir

    cache, elsewhere = cache_dir or default_cache_dir(), load_settings().trunk
    return lambda artifact: try_out(artifact, cache, elsewhere)


def _folder(given: Path | None) -> Path:
    folder = given or load_settings().model
    if folder is None:
        raise UserError("name the folder of versions: --registry, or SPRINGTIDE_MODEL")
    return folder


def _or_user_error(work: Callable[[], T]) -> T:
    from models.errors import ModelError

    try:
        return work()
    except ModelError as error:
        raise UserError(str(error)) from None
