"""One training run from comments to a finished artifact: train, measure, write the card."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from models import registry, versions
from models.base_model import BaseModel
from models.card import write_card
from models.classifier import Classifier
from models.curves import curves
from models.data import LabelledSet, Reader, read_columns
from models.errors import ArtifactError
from models.evaluate import evaluate, evaluate_ngrams, majority, test_rows
from models.finetune import EPOCHS, ROWS, train_sentiment
from models.measures import Quality
from models.methods import Method
from models.ngrams import NGrams
from models.options import AS_MEASURED, Options
from models.plots import can_draw, draw
from models.registry import Manifest, Scores
from models.stacking import add_expert


class Plan(Struct, frozen=True):
    """What to train, as `train_sentiment` says. `test_rows` of each set are scored, 0: all;
    `probe`: measure the peer too; `read` reads files of one's own."""

    data: Path
    out: Path
    trunk: Path
    without: tuple[str, ...] = ()
    topics: Path | None = None
    method: Method = "lora"
    rows: int = ROWS
    epochs: int = EPOCHS
    seed: int = 0
    threads: int | None = None
    test_rows: int = 1_000
    probe: bool = True
    options: Options = AS_MEASURED
    read: Reader = read_columns
    base_model: BaseModel | None = None
    text_prefix: str = ""
    teacher_trunk: Path | None = None


class Watcher(Protocol):
    """Sees a run go on."""

    def stage(self, name: str, total: int | None = None) -> None:
        """A new stage begins; `total` steps where they are known."""

    def step(self, done: int, total: int, loss: float) -> None:
        """`done` of `total` steps of the stage are done."""


def run(plan: Plan, watcher: Watcher) -> Manifest:
    """Train, measure on the test parts, and write artifact, manifest and model card to `plan.out`.

    The same plan goes on there where a training of it was interrupted.

    Raises:
        DataError: the comments cannot be read.
        ArtifactError: `plan.out` cannot be written.
    """
    check_writable(plan.out)
    before: dict[str, Scores] = {}
    if plan.probe and plan.method != "head":
        with tempfile.TemporaryDirectory(prefix="springtide-probe-") as scratch:
            probe = msgspec.structs.replace(
                plan, out=Path(scratch), topics=None, method="head", options=AS_MEASURED
            )
            _, sets, _ = _train(probe, watcher, "frozen trunk")
            before = scores_of(_measure(probe, sets, watcher, "test, frozen trunk"))
    manifest, sets, seconds = _train(plan, watcher, "training")
    manifest = _with_expert(plan, manifest, sets, watcher)
    measured = _measure(plan, sets, watcher, "test, trained")
    finished = msgspec.structs.replace(
        manifest,
        scores=scores_of(measured),
        before=before,
        ngrams=_expert_alone(plan, manifest, sets),
        majority=majority(sets, plan.test_rows),
        train_seconds=round(seconds, 1),
    )
    from models import resuming  # torch

    registry.write_manifest(plan.out, finished)
    if can_draw():
        draw(plan.out, measured)
    write_card(plan.out, finished)
    resuming.remove(plan.out)
    return finished


def scores_of(measured: Mapping[str, Quality]) -> dict[str, Scores]:
    """What the manifest keeps of it."""
    return {
        name: Scores(sum(map(sum, each.confusion)), each.accuracy, each.macro_f1)
        for name, each in measured.items()
    }


def _with_expert(
    plan: Plan, manifest: Manifest, sets: Sequence[LabelledSet], watcher: Watcher
) -> Manifest:
    watcher.stage("n-gram expert")
    return add_expert(
        plan.out,
        manifest,
        sets,
        plan.trunk,
        drawn=plan.rows,
        progress=lambda done, total: watcher.step(done, total, float("nan")),
    )


def _expert_alone(plan: Plan, manifest: Manifest, sets: Sequence[LabelledSet]) -> dict[str, Scores]:
    if manifest.stack is None:
        return {}
    return evaluate_ngrams(NGrams.load(plan.out / registry.NGRAMS), sets, plan.test_rows)


def check_writable(out: Path) -> None:
    """Find out before the minutes of training, not after them.

    Raises:
        ArtifactError: a file stands there, it may not be written, or it is a folder of versions.
    """
    if (out / versions.POINTER).exists():
        raise ArtifactError(
            f"{out} is a folder of versions: train elsewhere, then promote it there"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"{out} cannot be written: {error.strerror}") from None
    if not os.access(out, os.W_OK):
        raise ArtifactError(f"{out} may not be written: choose another --out")


def _train(plan: Plan, watcher: Watcher, name: str) -> tuple[Manifest, list[LabelledSet], float]:
    watcher.stage(f"{name}: reading the sets")
    started: list[float] = []

    def progress(step: int, steps: int, loss: float) -> None:
        if not started:
            watcher.stage(name, steps)
            started.append(time.monotonic())
        watcher.step(step, steps, loss)
        point(step, loss)

    begun = time.monotonic()
    with curves(plan.out) as point:
        manifest, sets = train_sentiment(
            plan.data,
            plan.out,
            plan.trunk,
            without=plan.without,
            topics=plan.topics,
            method=plan.method,
            rows=plan.rows,
            epochs=plan.epochs,
            seed=plan.seed,
            threads=plan.threads,
            options=plan.options,
            base_model=plan.base_model,
            text_prefix=plan.text_prefix,
            teacher_trunk=plan.teacher_trunk,
            keep=True,
            read=plan.read,
            progress=progress,
        )
    return manifest, sets, time.monotonic() - (started[0] if started else begun)


def _measure(
    plan: Plan, sets: Sequence[LabelledSet], watcher: Watcher, name: str
) -> dict[str, Quality]:
    classifier = Classifier(plan.trunk, plan.out, threads=plan.threads)
    total = sum(len(test_rows(each, plan.test_rows)) for each in sets)
    watcher.stage(name, total)
    return evaluate(classifier, sets, plan.test_rows, _counted(watcher, total))


def _counted(watcher: Watcher, total: int) -> Callable[[int], None]:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        watcher.step(done, total, float("nan"))

    return count
