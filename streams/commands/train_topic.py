"""`springtide train topic`: topic heads on the classifier's own vectors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.settings import UserError, load_settings
from streams.commands.classifier_options import CacheDir, Threads, trunk_for
from streams.commands.progress import progress_bar

if TYPE_CHECKING:
    from models.registry import Manifest, Scores


def topic(
    data: Annotated[
        Path, typer.Option(help="CSV or JSONL of texts and topics, or a folder of the known sets.")
    ],
    label: Annotated[str, typer.Option(help="Column of the topics; texts stand in `text`.")] = (
        "label"
    ),
    model: Annotated[
        Path | None, typer.Option(help="Artifact to add to; default: the packaged one.")
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(help="Where the artifact's base model is, if not where training found it."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the artifact with the new heads.")] = Path(
        "artifacts/topic"
    ),
    seed: Annotated[int, typer.Option(help="Of the rows held back and of the expert.")] = 0,
    threads: Threads = None,
    cache_dir: CacheDir = None,
    json_output: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Train topic heads on an artifact: sentiment and topic then come from one forward pass.

    Topics are what the label column says, say 技术文章, 商业分析, 产品评测, 新闻资讯, 行业报告. The
    labels of a file are one head, named for the file; heads that the artifact has stay. One row in
    ten is kept for the test. On one core it takes about a second per 100 rows.

    The heads read what the artifact's base model makes of a text: for one of your own train an
    artifact with `springtide train sentiment --base-model` first.

    Examples:

      springtide train topic --data articles.csv --out my-model

      springtide train topic --data ../shared/data --model my-model --out my-model
    """
    from models.card import write_card
    from models.classifier import Classifier
    from models.errors import ModelError
    from models.registry import read_manifest
    from models.topic_data import load_topic_sets
    from models.topic_training import add_topics
    from models.training import check_writable
    from models.versions import resolved
    from streams.labelled_rows import read_pairs

    if not data.exists():
        raise UserError(f"{data} does not exist: name a file of texts and topics with --data")
    try:
        source = resolved(load_settings(model=model).model)
        sets = load_topic_sets(data, label, read_pairs)
        trunk = trunk_for(source, cache_dir, base_model)
        check_writable(out)
        if source.resolve() != out.resolve():
            read_manifest(source)
            shutil.copytree(source, out, dirs_exist_ok=True)
        with progress_bar() as bar:
            task = bar.add_task("reading the texts", total=None)
            manifest = add_topics(
                Classifier(trunk, out, threads=threads),
                out,
                sets,
                seed=seed,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        write_card(out, manifest)
    except ModelError as error:
        raise UserError(str(error)) from None
    names = [each.name for each in sets]
    if json_output:
        print(json.dumps(_as_json(manifest, names, out), ensure_ascii=False))
    else:
        _print_report(manifest, names, out)


def _as_json(manifest: Manifest, names: list[str], out: Path) -> dict[str, Any]:
    import msgspec

    topics = {name: msgspec.to_builtins(manifest.topics[name]) for name in names}
    return {"artifact": str(out), "model_version": manifest.version, "topics": topics}


def _print_report(manifest: Manifest, names: list[str], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{manifest.version} on the test rows (accuracy / macro-F1)")
    for column in ("label set", "topics", "trained", "tested", "head", "n-grams alone"):
        table.add_column(column, justify="left" if column == "label set" else "right")
    for name in names:
        found = manifest.topics[name]
        table.add_row(
            name,
            str(len(found.labels)),
            f"{found.trained_rows:,}",
            f"{found.scores.rows:,}",
            _pair(found.scores),
            _pair(found.ngrams),
        )
    console = Console()
    console.print(table)
    console.print(f"Artifact and model card: {out}")


def _pair(scores: Scores | None) -> str:
    return "-" if scores is None else f"{scores.accuracy:.3f} / {scores.macro_f1:.3f}"
