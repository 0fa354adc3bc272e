"""`springtide evaluate topics`: the topic heads on labelled texts of your own."""

from __future__ import annotations

import json
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
)

if TYPE_CHECKING:
    from models.topics import TopicHead


def topics(
    data: Annotated[Path, typer.Option(help="CSV or JSONL, gzipped or not.")],
    text: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
    label: Annotated[str, typer.Option(help="Column of the topics.")] = "topic",
    split: Split = "all",
    head: Annotated[
        str, typer.Option(help="Which head; default: the one that knows the file's labels.")
    ] = "",
    model: Model = None,
    threads: Threads = None,
    cache_dir: CacheDir = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy, macro-F1, calibration error and a table by label of a topic head on a file.

    Beside it "ngram": the head's n-gram expert by itself. Rows without text or label are skipped
    and counted.

    Example: springtide evaluate topics --data articles.csv --label label --model my-model
    """
    from models.errors import ModelError

    if split not in SPLITS:
        raise UserError(f"--split {split}: give {', '.join(SPLITS)}")
    if not data.is_file():
        raise UserError(f"{data} is no file: name one with --data")
    try:
        rows, skipped = _read(data, text, label, split)
        if not rows:
            raise UserError(f"{data}: no row has a text and a topic")
        found = _measured(rows, head, load_settings(model=model).model, threads, cache_dir)
    except ModelError as error:
        raise UserError(str(error)) from None
    found |= {"skipped": skipped}
    print(json.dumps(found, ensure_ascii=False) if as_json else _table(found))


def _read(
    path: Path, text_column: str, label_column: str, split: str
) -> tuple[list[tuple[str, str]], int]:
    """Cleaned texts with their topics, and how many rows have none."""
    from models.data import in_test_part
    from models.hygiene import clean, normalise
    from models.topic_data import share_of_tests
    from streams.labelled_rows import read_labelled

    rows, left_out = read_labelled(path, text_column, label_column)
    usable = [(text, label.strip()) for text, label in rows if label.strip()]
    usable = [(text, label) for text, label in usable if not clean(text).flagged]
    share = share_of_tests(path)
    kept = [
        (clean(text).text, label)
        for text, label in usable
        if split == "all" or in_test_part(normalise(text), share) == (split == "test")
    ]
    return kept, len(rows) - len(usable) + left_out


def _measured(
    rows: list[tuple[str, str]],
    name: str,
    artifact: Path | None,
    threads: int | None,
    cache_dir: Path | None,
) -> dict[str, Any]:
    import numpy as np

    from models.measures import topic_quality
    from models.ngrams import softmax
    from models.topic_training import vectors_of

    classifier = open_classifier(artifact, threads, cache_dir)
    name, head = _head(classifier.topics, name, {label for _, label in rows})
    texts = [text for text, _ in rows]
    truth = np.array([head.labels.index(label) for _, label in rows])
    answers = {"springtide": head.shares(vectors_of(classifier, texts), texts)}
    if head.ngrams is not None:
        answers["ngram"] = softmax(head.ngrams.logits(texts))
    methods = {}
    for method, shares in answers.items():
        quality = topic_quality(truth, shares.astype(np.float64), head.labels)
        methods[method] = msgspec.to_builtins(quality) | {"auc": None}
    return {
        "rows": len(rows),
        "model_version": classifier.model_version,
        "head": name,
        "methods": methods,
    }


def _head(heads: dict[str, TopicHead], name: str, labels: set[str]) -> tuple[str, TopicHead]:
    """The head of that name, or the first that knows all labels."""
    for each, head in heads.items():
        if name in ("", each) and labels <= set(head.labels):
            return each, head
    known = "; ".join(f"{each}: {', '.join(head.labels)}" for each, head in heads.items())
    raise UserError(
        f"no topic head {name} knows {', '.join(sorted(labels)[:5])}".replace("  ", " ")
        + f"; the artifact has {known or 'none: train one with `springtide train topic`'}"
    )


def _table(found: dict[str, Any]) -> str:
    lines = [
        f"{found['model_version']}, head {found['head']}: {found['rows']:,} rows, "
        f"{found['skipped']:,} skipped"
    ]
    for method, figures in found["methods"].items():
        lines.append(
            f"{method}: accuracy {figures['accuracy']:.3f}, macro-F1 {figures['macro_f1']:.3f}, "
            f"ece {figures['ece']:.3f}"
        )
    lines += [
        f"  {name}: precision {each['precision']:.3f}, recall {each['recall']:.3f}, "
        f"F1 {each['f1']:.3f}, {each['rows']:,} rows"
        for name, each in found["methods"]["springtide"]["labels"].items()
    ]
    return "\n".join(lines)
