"""Options that commands around the classifier share, and the classifier that they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.settings import load_settings

if TYPE_CHECKING:
    from models.classifier import Classifier

SPLITS = ("all", "train", "test")

Split = Annotated[str, typer.Option(help="all, train or test, as training splits it.")]
Model = Annotated[Path | None, typer.Option(help="Artifact; default: the packaged one.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Of torch; default: all.")]
CacheDir = Annotated[
    Path | None, typer.Option(help="Where the trunk is kept; default: ~/.cache/springtide.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def trunk_for(artifact: Path | None, cache_dir: Path | None, base_model: str | None = None) -> Path:
    """The folder of the trunk that an artifact was made on.

    Args:
        base_model: where it is, said by an option; None: SPRINGTIDE_TRUNK may say so.

    Raises:
        models.errors.ModelError: it is not here, or the artifact cannot be used.
    """
    from models.base_model import check, chosen, trunk_of
    from models.registry import read_manifest
    from models.trunk import default_cache_dir
    from models.versions import resolved

    folder, cache = resolved(artifact), cache_dir or default_cache_dir()
    manifest = read_manifest(folder)
    if base_model is None:
        return trunk_of(manifest, cache, load_settings().trunk)
    trunk, _ = chosen(base_model, cache)
    check(folder, manifest, trunk)
    return trunk


def open_classifier(
    artifact: Path | None, threads: int | None, cache_dir: Path | None
) -> Classifier:
    """The classifier of an artifact.

    Raises:
        models.errors.ModelError: trunk or artifact cannot be used.
    """
    from models.classifier import Classifier

    return Classifier(trunk_for(artifact, cache_dir), artifact, threads=threads)
