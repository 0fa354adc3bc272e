"""Options that commands around the classifier share, and the classifier that they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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


def open_classifier(
    artifact: Path | None, threads: int | None, cache_dir: Path | None
) -> Classifier:
    """The classifier of an artifact.

    Raises:
        models.errors.ModelError: trunk or artifact cannot be used.
    """
    from models.classifier import Classifier
    from models.trunk import default_cache_dir, trunk_folder

    return Classifier(trunk_folder(cache_dir or default_cache_dir()), artifact, threads=threads)
