"""`springtide evaluate sentiment`: the classifier on labelled comments of your own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from infra.settings import UserError, load_settings
from streams.commands.classifier_options import (
    SPLITS,
    AsJson,
    CacheDir,
    Model,
    Split,
    Threads,
    open_classifier,
    trunk_for,
)

if TYPE_CHECKING:
    from models.data import Comment, LabelledSet
    from models.measures import Quality
    from models.peers import Peer
    from models.registry import Manifest

STARS = {"1": "negative", "2": "negative", "3": "neutral", "4": "positive", "5": "positive"}


def sentiment(
    data: Annotated[
        Path, typer.Option(help="CSV or JSONL, gzipped or not, or a folder of the known sets.")
    ],
    text: Annotated[str, typer.Option(help="Column of the comments.")] = "text",
    label: Annotated[str, typer.Option(help="Column of the labels.")] = "label",
    map: Annotated[str, typer.Option(help="How labels read: happy=positive,angry=negative")] = "",
    stars: Annotated[bool, typer.Option("--stars", help="Labels are 1 to 5 stars.")] = False,
    split: Split = "all",
    peers: Annotated[
        str, typer.Option(help="Also train and measure: all, or some of tfidf,ngram-all,probe.")
    ] = "",
    plots: Annotated[
        Path | None, typer.Option(help="Folder for confusion.png and calibration.png.")
    ] = None,
    model: Model = None,
    threads: Threads = None,
    cache_dir: CacheDir = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy, macro-F1, AUC, calibration error and a table by label, on a file or on known sets.

    Beside it "ngram", the artifact's n-gram expert by itself, and with --peers what is trained for
    the comparison, on the training parts of the known sets that the artifact was trained on.

    Labels understood without --map: 0/1, 0/1/2, -1/0/1 and words that begin with neg, neu, pos.
    A file without neutral is scored on negative against positive. Rows without text or label are
    skipped and counted; so are labels that --map does not name. A folder: the sets' test parts.
    Of a file that the artifact was trained on --split test is what it has not seen.

    Examples:

      springtide evaluate sentiment --data reviews.csv --text body --label stars --stars

      springtide evaluate sentiment --data ../shared/data --peers all --json
    """
    from models.errors import ModelError

    if split not in SPLITS:
        raise UserError(f"--split {split}: give {', '.join(SPLITS)}")
    if not data.exists():
        raise UserError(f"{data} does not exist: name a file or a folder of sets with --data")
    if plots is not None:
        _check_plots(plots)
    artifact = load_settings(model=model).model
    try:
        if data.is_dir():
            found = _known_sets(data, artifact, _peers(peers), threads, cache_dir)
        else:
            words = STARS if stars else _words(map)
            comments, skipped, shown = _read(data, text, label, words, split)
            if not comments:
                raise UserError(f"{data}: no row has a text and a label that can be used")
            answers, manifest = _methods(data, artifact, _peers(peers), threads, cache_dir)
            found = {"model_version": manifest.version, **_measured(comments, answers)}
            trained_on = shown if _name(data) in manifest.trained_rows else 0
            found |= {"skipped": skipped, "trained_on": trained_on}
    except ModelError as error:
        raise UserError(str(error)) from None
    if plots is not None:
        _draw(plots, found.get("sets", {data.name: found}))
    print(json.dumps(found) if as_json else _table(found))


def _check_plots(folder: Path) -> None:
    """Before the minutes of measuring, not after them."""
    from models.plots import can_draw

    if not can_draw():
        raise UserError("--plots needs matplotlib: pip install 'springtide[evaluate]'")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--plots {folder}: cannot be written ({error.strerror})") from None


def _draw(folder: Path, sets: Mapping[str, Any]) -> None:
    from models.measures import Quality
    from models.plots import draw

    told = {name: each["methods"]["springtide"] for name, each in sets.items()}
    draw(
        folder,
        {
            name: msgspec.convert(each | {"auc": each["auc"] or math.nan}, Quality)
            for name, each in told.items()
        },
    )


def _peers(names: str) -> tuple[str, ...]:
    from models.peers import PEERS

    chosen = PEERS if names == "all" else tuple(filter(None, names.split(",")))
    for name in chosen:
        if name not in PEERS:
            raise UserError(f"--peers {name}: give all or some of {', '.join(PEERS)}")
    return chosen


def _words(pairs: str) -> dict[str, str]:
    words = dict(pair.partition("=")[::2] for pair in pairs.split(",") if pair)
    words = {name.strip().removesuffix(".0"): word.strip() for name, word in words.items()}
    for name, word in words.items():
        if word[:3] not in {"neg", "neu", "pos"}:
            raise UserError(f"--map {name}={word}: map to negative, neutral or positive")
    return words


def _read(
    path: Path, text_column: str, label_column: str, words: dict[str, str], split: str
) -> tuple[list[Comment], int, int]:
    """Rows to measure, how many have no text or label, and how many training may have seen."""
    from models.data import Comment, in_test_part, label_reading, outside_training
    from models.data import test_share as share_of
    from models.hygiene import clean, normalise
    from streams.labelled_rows import read_labelled

    rows, left_out = read_labelled(path, text_column, label_column)
    # Numbers are often written 5.0.
    plain = ((text, label.strip().removesuffix(".0")) for text, label in rows)
    known = [(text, words.get(label, "") if words else label) for text, label in plain]
    usable = [(text, label) for text, label in known if label and not clean(text).flagged]
    if not usable:
        return [], len(rows) + left_out, 0
    reading: Callable[[str], int] = label_reading({label for _, label in usable})
    share = share_of(path)
    tests = [in_test_part(normalise(text), share) for text, _ in usable]
    comments = [
        Comment(clean(text).text, reading(label))
        for (text, label), test in zip(usable, tests, strict=True)
        if split == "all" or test == (split == "test")
    ]
    skipped = len(rows) - len(usable) + left_out
    if split == "test":
        return outside_training(path, comments), skipped, 0
    return comments, skipped, tests.count(False)


def _name(path: Path) -> str:
    """As a manifest has it."""
    from models.data import SOURCES

    return path.parent.name if path.parent.name in SOURCES else path.name


def _known_sets(
    data: Path,
    artifact: Path | None,
    peers: Sequence[str],
    threads: int | None,
    cache_dir: Path | None,
) -> dict[str, Any]:
    from models.data import load_sets

    answers, manifest = _methods(data, artifact, peers, threads, cache_dir)
    sets = {each.name: _measured(each.test, answers) for each in load_sets(data)}
    return {"model_version": manifest.version, "sets": sets}


def _methods(
    data: Path,
    artifact: Path | None,
    peers: Sequence[str],
    threads: int | None,
    cache_dir: Path | None,
) -> tuple[dict[str, Peer], Manifest]:
    """Each method as a function from texts to probabilities, and the artifact's manifest."""
    import numpy as np

    from models.evaluate import probabilities
    from models.ngrams import softmax
    from models.peers import cleaned, train_peer

    classifier = open_classifier(artifact, threads, cache_dir)
    answers: dict[str, Peer] = {"springtide": lambda texts: probabilities(classifier, texts)}
    if (expert := classifier.ngrams) is not None:
        answers["ngram"] = lambda texts: softmax(expert.logits(cleaned(texts))).astype(np.float64)
    if peers:
        sets = _trained_on(data, classifier.manifest.trained_rows)
        trunk = trunk_for(artifact, cache_dir)
        for name in peers:
            answers[name] = train_peer(name, sets, classifier.manifest, trunk)
    return answers, classifier.manifest


def _trained_on(data: Path, trained_rows: Mapping[str, int]) -> list[LabelledSet]:
    """The sets that the artifact was trained on: peers must learn from the same rows."""
    from models.data import SOURCES, load_sets

    folder = data if data.is_dir() else data.parent.parent
    missing = [name for name in trained_rows if not (folder / name).is_dir()]
    if missing:
        raise UserError(
            f"--peers trains on the artifact's own sets, and {folder} has no {missing[0]}: give "
            "--data as they lie in their folder"
        )
    return load_sets(folder, [name for name in SOURCES if name not in trained_rows])


def _measured(comments: Sequence[Comment], answers: Mapping[str, Peer]) -> dict[str, Any]:
    import numpy as np

    from models.data import NEUTRAL
    from models.measures import quality

    truth = np.array([comment.label for comment in comments])
    texts = [comment.text for comment in comments]
    two_class = bool(np.all(truth != NEUTRAL))
    return {
        "rows": len(comments),
        "methods": {
            name: _plain(quality(truth, answer(texts), two_class))
            for name, answer in answers.items()
        },
    }


def _plain(measured: Quality) -> dict[str, Any]:
    """JSON knows no nan: a file with one class alone has no AUC."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in msgspec.to_builtins(measured).items()
    }


def _table(found: dict[str, Any]) -> str:
    sets = found.get("sets", {"": found})
    lines = [str(found["model_version"])]
    for name, measured in sets.items():
        lines.append(f"{name} {measured['rows']:,} rows".strip())
        for method, figures in measured["methods"].items():
            lines.append(f"  {method}: {_line(figures)}")
        lines += _by_label(measured["methods"]["springtide"]["labels"])
    if "skipped" in found:
        lines.append(f"{found['skipped']:,} skipped")
    if shown := found.get("trained_on"):
        lines.append(f"{shown:,} may have been trained on: --split test leaves them out")
    return "\n".join(lines)


def _line(figures: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {'-' if value is None else format(value, '.3f')}"
        for name, value in figures.items()
        if value is None or isinstance(value, float)
    )


def _by_label(labels: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [
        f"    {name}: precision {each['precision']:.3f}, recall {each['recall']:.3f}, "
        f"F1 {each['f1']:.3f}, {each['rows']:,} rows"
        for name, each in labels.items()
    ]
