"""`springtide evaluate sentiment`: the classifier on labelled comments of your own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from infra.settings import UserError, load_settings

if TYPE_CHECKING:
    from models.data import Comment
    from models.evaluate import Quality

STARS = {"1": "negative", "2": "negative", "3": "neutral", "4": "positive", "5": "positive"}
SPLITS = ("all", "train", "test")


def sentiment(
    data: Annotated[Path, typer.Option(help="CSV, gzipped or not, with a header.")],
    text: Annotated[str, typer.Option(help="Column of the comments.")] = "text",
    label: Annotated[str, typer.Option(help="Column of the labels.")] = "label",
    map: Annotated[str, typer.Option(help="How labels read: happy=positive,angry=negative")] = "",
    stars: Annotated[bool, typer.Option("--stars", help="Labels are 1 to 5 stars.")] = False,
    split: Annotated[str, typer.Option(help="all, train or test, as training splits it.")] = "all",
    model: Annotated[Path | None, typer.Option(help="Artifact; default: the packaged one.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch; default: all.")] = None,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where the trunk is kept; default: ~/.cache/springtide.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Accuracy, macro-F1, AUC and calibration error of the classifier on a file.

    Beside it "ngram": the artifact's n-gram expert by itself.

    Labels understood without --map: 0/1, 0/1/2, -1/0/1 and words that begin with neg, neu, pos.
    A file without neutral is scored on negative against positive. Rows without text or label are
    skipped and counted; so are labels that --map does not name.

    Example: springtide evaluate sentiment --data reviews.csv --text body --label stars --stars
    """
    from models.errors import ModelError

    if split not in SPLITS:
        raise UserError(f"--split {split}: give {', '.join(SPLITS)}")
    if not data.is_file():
        raise UserError(f"{data} is no file: name a CSV with --data")
    words = STARS if stars else _words(map)
    try:
        comments, skipped = _read(data, text, label, words, split)
        if not comments:
            raise UserError(f"{data}: no row has a text and a label that can be used")
        found = _measured(comments, load_settings(model=model).model, threads, cache_dir)
    except ModelError as error:
        raise UserError(str(error)) from None
    found |= {"skipped": skipped}
    print(json.dumps(found) if as_json else _table(found))


def _words(pairs: str) -> dict[str, str]:
    words = dict(pair.partition("=")[::2] for pair in pairs.split(",") if pair)
    for name, word in words.items():
        if word[:3] not in {"neg", "neu", "pos"}:
            raise UserError(f"--map {name}={word}: map to negative, neutral or positive")
    return words


def _read(
    path: Path, text_column: str, label_column: str, words: dict[str, str], split: str
) -> tuple[list[Comment], int]:
    from models.data import Comment, in_test_part, label_reading, read_columns, test_share
    from models.hygiene import clean, normalise

    rows = list(read_columns(path, text_column, label_column))
    # Stars are often written 5.0.
    known = [
        (text, words.get(label.strip().removesuffix(".0"), "") if words else label)
        for text, label in rows
    ]
    usable = [(text, label) for text, label in known if label and not clean(text).flagged]
    if not usable:
        return [], len(rows)
    reading: Callable[[str], int] = label_reading({label for _, label in usable})
    share = test_share(path)
    comments = [
        Comment(text, reading(label))
        for text, label in usable
        if split == "all" or in_test_part(normalise(text), share) == (split == "test")
    ]
    return comments, len(rows) - len(usable)


def _measured(
    comments: list[Comment], artifact: Path | None, threads: int | None, cache_dir: Path | None
) -> dict[str, Any]:
    import numpy as np

    from models.classifier import Classifier
    from models.data import NEUTRAL
    from models.evaluate import probabilities, quality
    from models.ngrams import softmax
    from models.trunk import default_cache_dir, trunk_folder

    trunk = trunk_folder(cache_dir or default_cache_dir())
    classifier = Classifier(trunk, artifact, threads=threads)
    truth = np.array([comment.label for comment in comments])
    shares = probabilities(classifier, [comment.text for comment in comments])
    two_class = bool(np.all(truth != NEUTRAL))
    plain = _plain(quality(truth, shares, two_class))
    methods = {"springtide": plain}
    if classifier.ngrams is not None:
        logits = classifier.ngrams.logits([comment.text for comment in comments])
        alone = softmax(logits).astype(np.float64)
        methods["ngram"] = _plain(quality(truth, alone, two_class))
    return {
        "rows": len(comments),
        "model_version": classifier.model_version,
        "methods": methods,
    }


def _plain(measured: Quality) -> dict[str, float | None]:
    """JSON knows no nan: a file with one class alone has no AUC."""
    return {
        name: None if math.isnan(value) else value
        for name, value in msgspec.to_builtins(measured).items()
    }


def _table(found: dict[str, Any]) -> str:
    lines = [f"{found['model_version']}: {found['rows']:,} rows, {found['skipped']:,} skipped"]
    for method, figures in found["methods"].items():
        shown = ", ".join(
            f"{name} {'-' if value is None else format(value, '.3f')}"
            for name, value in figures.items()
        )
        lines.append(f"{method}: {shown}")
    return "\n".join(lines)
