"""`springtide train sentiment`: fine-tune the classifier on comments."""

from __future__ import annotations

import functools
import json
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from infra.settings import UserError
from streams.commands.classifier_options import CacheDir, Threads, trunk_for
from streams.commands.progress import progress_bar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from models.registry import Manifest, Scores


def sentiment(
    data: Annotated[
        Path, typer.Option(help="CSV or JSONL with columns text and label, or a folder of sets.")
    ] = Path("../shared/data"),
    out: Annotated[Path, typer.Option(help="Folder for the artifact.")] = Path(
        "artifacts/sentiment"
    ),
    without: Annotated[
        list[str] | None, typer.Option(help="A set to leave out; may be given again.")
    ] = None,
    topics: Annotated[
        Path | None,
        typer.Option(help="Fit the adapter to topics too: a file as --data, or known sets."),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows drawn over all sets, by n^0.3.")] = 14_000,
    epochs: Annotated[int, typer.Option(min=1, help="Times over the rows.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the draw and of the weights.")] = 0,
    threads: Threads = None,
    base_model: Annotated[
        str,
        typer.Option(help="packaged, a folder, or a hub's name that is in this machine's cache."),
    ] = "packaged",
    text_prefix: Annotated[
        str, typer.Option(help="Goes before every text, where the base model asks for one.")
    ] = "",
    method: Annotated[
        Literal["lora", "adalora", "prefix", "full", "head"],
        typer.Option(help="lora was measured; full: all layers, 43 MB; head: a minute, weaker."),
    ] = "lora",
    layers: Annotated[
        int, typer.Option(min=0, help="Keep so many of the trunk's, evenly spread; 0: all.")
    ] = 0,
    teacher: Annotated[
        Path | None, typer.Option(help="An artifact whose answers are learned from, too.")
    ] = None,
    class_weights: Annotated[
        bool, typer.Option("--class-weights", help="Rare labels weigh more.")
    ] = False,
    adversarial: Annotated[
        float, typer.Option(min=0, help="FGM: size of its step in the embeddings, 1 is usual.")
    ] = 0.0,
    thinning: Annotated[
        float, typer.Option(min=0, max=1, help="Share of rows that lose a token in ten each time.")
    ] = 0.0,
    frozen_layers: Annotated[
        int, typer.Option(min=0, help="So many of the lowest layers stay as they are.")
    ] = 0,
    accumulate: Annotated[int, typer.Option(min=1, help="Batches to a step.")] = 1,
    patience: Annotated[
        int, typer.Option(min=0, help="Stop after so many looks, 4 an epoch, without gain; 0: no.")
    ] = 0,
    test_rows: Annotated[
        int, typer.Option(min=0, help="Test rows scored of each set; 0: all.")
    ] = 1_000,
    probe: Annotated[
        bool, typer.Option(help="Measure the untrained trunk first, for the report.")
    ] = True,
    cache_dir: CacheDir = None,
    json_output: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Train a sentiment model, report it before and after, and write it with its model card.

    Labels of a file: negative, neutral, positive (or 0/1, 0/1/2, -1/0/1); without a neutral row it
    answers one of the others. Rows without a label are left out. One row in ten is kept for the
    test. On one core it takes about a second per 60 rows; the same command goes on where a run was
    interrupted (AdaLoRA begins anew).

    A base model is an encoder of BERT's shape (bert, roberta, xlm-roberta, camembert): a folder
    with config.json, model.safetensors and tokenizer.json, or org/name that `hf download` has put
    into Hugging Face's cache here. Texts are read by the mean of its last layer. Serving needs it
    too: SPRINGTIDE_TRUNK says where it is if not there. Its licence is yours to look at.

    Examples:

      springtide train sentiment --data my_comments.csv --out my-model

      springtide train sentiment --data ../shared/data --without stream-en-airline --rows 9000

      springtide train sentiment --data my_comments.csv --method full --layers 6 --teacher my-model

      springtide train sentiment --data ../shared/data --topics ../shared/data --out both

      springtide train sentiment --data my_comments.csv --base-model google-bert/bert-base-chinese

    Then serve it: SPRINGTIDE_MODEL=my-model springtide classifier
    """
    from models.base_model import chosen
    from models.errors import ModelError
    from models.options import Options
    from models.training import Plan, run
    from models.trunk import default_cache_dir
    from streams.labelled_rows import read_pairs

    if not data.exists():
        raise UserError(
            f"{data} does not exist: name a file with the columns text and label, or a folder of "
            "sets, with --data"
        )
    try:
        trunk, said = chosen(base_model, cache_dir or default_cache_dir())
        plan = Plan(
            data=data,
            out=out,
            trunk=trunk,
            base_model=said,
            text_prefix=text_prefix,
            teacher_trunk=trunk_for(teacher, cache_dir) if teacher else None,
            without=tuple(without or ()),
            topics=topics,
            method=method,
            rows=rows,
            epochs=epochs,
            seed=seed,
            threads=threads,
            test_rows=test_rows,
            probe=probe,
            options=Options(
                class_weights,
                adversarial,
                thinning,
                frozen_layers,
                accumulate,
                patience,
                layers,
                teacher,
            ),
            read=functools.cache(read_pairs),  # the probe reads them, too
        )
        with progress_bar("loss") as bars:
            manifest = run(plan, _Bars(bars))
    except ModelError as error:
        raise UserError(str(error)) from None
    if json_output:
        print(json.dumps(_as_json(manifest, out)))
    else:
        _print_report(manifest, out)


class _Bars:
    """One bar a stage of `models.training.run`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def stage(self, name: str, total: int | None = None) -> None:
        if self._task is not None:
            done = self._progress.tasks[self._task]
            self._progress.update(self._task, total=done.total or 1, completed=done.total or 1)
        self._task = self._progress.add_task(name, total=total, loss="")

    def step(self, done: int, total: int, loss: float) -> None:
        if self._task is not None:
            shown = "" if isnan(loss) else f"loss {loss:.3f}"
            self._progress.update(self._task, completed=done, total=total, loss=shown)


def _print_report(manifest: Manifest, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from models.curves import LOGS

    table = Table(title=f"{manifest.version} on the test rows (accuracy / macro-F1)")
    for column in ("set", "rows", "majority", "before: frozen trunk", "after"):
        table.add_column(column, justify="left" if column == "set" else "right")
    for name, after in manifest.scores.items():
        table.add_row(
            name,
            f"{after.rows:,}",
            _pair(manifest.majority.get(name)),
            _pair(manifest.before.get(name)),
            _pair(after),
        )
    console = Console()
    console.print(table)
    console.print(f"{manifest.train_seconds:.0f} s of training. Artifact and model card: {out}")
    console.print(f"Curves: tensorboard --logdir {out / LOGS}")
    console.print(f"Serve it with: SPRINGTIDE_MODEL={out} springtide classifier")


def _pair(scores: Scores | None) -> str:
    return "-" if scores is None else f"{scores.accuracy:.3f} / {scores.macro_f1:.3f}"


def _as_json(manifest: Manifest, out: Path) -> dict[str, object]:
    import msgspec

    report: dict[str, object] = msgspec.to_builtins(manifest)
    return {"artifact": str(out), "model_version": manifest.version} | report
