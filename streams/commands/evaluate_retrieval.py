"""`springtide evaluate retrieval`: the trunk's vectors at finding the right question of an FAQ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.settings import UserError, load_settings
from streams.commands.classifier_options import AsJson, CacheDir, Model, Threads, open_classifier

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def retrieval(
    index: Annotated[Path, typer.Option(help="CSV or JSONL of known questions and categories.")],
    queries: Annotated[Path, typer.Option(help="New questions, same columns.")],
    text: Annotated[str, typer.Option(help="Column of the questions.")] = "text",
    label: Annotated[str, typer.Option(help="Column of the categories.")] = "category",
    each: Annotated[int, typer.Option(min=1, help="Index rows of each category, first ones.")] = 10,
    prefix: Annotated[
        str | None,
        typer.Option(help="Goes before every question; default: as the trunk was trained."),
    ] = None,
    model: Model = None,
    threads: Threads = None,
    cache_dir: CacheDir = None,
    as_json: AsJson = False,
) -> None:
    """Recall at 1: how often the nearest known question, by cosine, has the right category.

    The vectors are those of `/embed`: the trunk as it came, without the adapter, so that training
    a classifier never changes what was stored. Beside it TF-IDF of words and Han characters.

    Example: springtide evaluate retrieval --index train.csv.gz --queries test.csv.gz
    """
    from models.errors import ModelError

    for path in (index, queries):
        if not path.is_file():
            raise UserError(f"{path} is no file: name one each with --index and --queries")
    try:
        found = _measured(
            _read(index, text, label),
            _read(queries, text, label),
            each,
            prefix,
            load_settings(model=model).model,
            threads,
            cache_dir,
        )
    except ModelError as error:
        raise UserError(str(error)) from None
    print(json.dumps(found) if as_json else _table(found))


def _read(path: Path, text_column: str, label_column: str) -> list[tuple[str, str]]:
    from models.hygiene import clean
    from streams.labelled_rows import read_labelled

    rows = read_labelled(path, text_column, label_column).rows
    kept = [(text, label) for text, label in rows if label and not clean(text).flagged]
    if not kept:
        raise UserError(f"{path}: no row has a text and a category")
    return kept


def _measured(
    rows: list[tuple[str, str]],
    queries: list[tuple[str, str]],
    each: int,
    prefix: str | None,
    artifact: Path | None,
    threads: int | None,
    cache_dir: Path | None,
) -> dict[str, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    from models.ngrams import TOKEN
    from models.retrieval import embedded, first_of_each, recall_at_1

    classifier = open_classifier(artifact, threads, cache_dir)
    before = classifier.embedding_prefix if prefix is None else prefix
    kept, labels = zip(*first_of_each(rows, each), strict=True)
    asked, right = zip(*queries, strict=True)
    words = TfidfVectorizer(token_pattern=TOKEN.pattern).fit(kept)

    def embeddings(texts: Sequence[str]) -> NDArray[np.float32]:
        return embedded(classifier, [before + text for text in texts])

    vectors = {
        "springtide": (embeddings(kept), embeddings(asked)),
        "tfidf": (words.transform(kept).toarray(), words.transform(asked).toarray()),
    }
    return {
        "index": len(kept),
        "queries": len(asked),
        "categories": len(set(labels)),
        "prefix": before,
        "trunk": classifier.manifest.trunk,
        "methods": {
            name: {"recall_at_1": round(recall_at_1(own, labels, new, right), 4)}
            for name, (own, new) in vectors.items()
        },
    }


def _table(found: dict[str, Any]) -> str:
    lines = [
        f"{found['trunk']}: {found['queries']:,} queries over {found['index']:,} questions of "
        f"{found['categories']} categories"
    ]
    lines += [f"{name}: R@1 {each['recall_at_1']:.3f}" for name, each in found["methods"].items()]
    return "\n".join(lines)
