"""Texts with topics: the known sets, a CSV of one's own with labels of any kind, the fixed splits.

A topic is whatever the label column says. The labels of one file are one label set, in order of
their names, and get a head of their own: nothing is assumed about how label sets overlap.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from models.data import OWN_TEST_SHARE, Comment, Reader, Source, read_columns, split
from models.errors import DataError

TOPIC_SOURCES = {
    "topic-zh-thucnews": Source(("dev.csv.gz",), "topic", test_files=("test.csv.gz",)),
    "topic-en-agnews": Source(("articles.csv.gz",), "topic", test_share=0.2),
}


class TopicSet(Struct, frozen=True):
    """One label set and its rows; a row's label is its place in `labels`."""

    name: str
    labels: tuple[str, ...]
    train: tuple[Comment, ...]
    test: tuple[Comment, ...]


def load_topic_sets(
    data: Path, label_column: str = "label", read: Reader = read_columns
) -> list[TopicSet]:
    """Every known topic set under a folder, or one file with the columns text and a label.

    Args:
        read: reads a file of one's own.

    Raises:
        DataError: nothing to read, or fewer than two topics.
    """
    if data.is_file() and data.parent.name in TOPIC_SOURCES:
        return [_known_set(data.parent, TOPIC_SOURCES[data.parent.name])]
    if data.is_file():
        return [read_topic_file(data, label_column, read=read)]
    names = [name for name in TOPIC_SOURCES if (data / name).is_dir()]
    if not names:
        raise DataError(
            f"{data} is no file and holds none of the known sets ({', '.join(TOPIC_SOURCES)})"
        )
    return [_known_set(data / name, TOPIC_SOURCES[name]) for name in names]


def read_topic_file(
    path: Path, label_column: str, text_column: str = "text", read: Reader = read_columns
) -> TopicSet:
    """A file of one's own; one row in ten is kept for the test, and its name names the label set.

    Raises:
        DataError: a column is missing, no row is left to train on or to test, or there are fewer
            than two topics.
    """
    rows = _labelled(path, text_column, label_column, read)
    name = re.sub(r"\.(csv|tsv|txt|jsonl?|ndjson)$", "", path.name.removesuffix(".gz"))
    numbers = _numbers((label for _, label in rows), path)
    train, test = split(_pairs(rows, numbers), OWN_TEST_SHARE)
    return _without_test_texts(TopicSet(name, tuple(numbers), train, test))


def share_of_tests(path: Path) -> float:
    """The share of a file's rows that are test rows, as training splits it."""
    source = TOPIC_SOURCES.get(path.parent.name)
    if source is None:
        return OWN_TEST_SHARE
    return 1.0 if path.name in source.test_files else source.test_share


def _known_set(folder: Path, source: Source) -> TopicSet:
    rows = [row for file in source.files for row in _labelled(folder / file, "text", "topic")]
    numbers = _numbers((label for _, label in rows), folder)
    train, test = split(_pairs(rows, numbers), source.test_share)
    if source.test_files:
        held = [r for file in source.test_files for r in _labelled(folder / file, "text", "topic")]
        _, test = split(_pairs(held, numbers), 1.0)
    return _without_test_texts(TopicSet(folder.name, tuple(numbers), train, test))


def _labelled(
    path: Path, text_column: str, label_column: str, read: Reader = read_columns
) -> list[tuple[str, str]]:
    columns = read(path, text_column, label_column)
    return [(text, label.strip()) for text, label in columns if label.strip()]


def _numbers(labels: Iterable[str], path: Path) -> dict[str, int]:
    names = sorted(set(labels))
    if len(names) < 2:
        raise DataError(f"{path} has {len(names)} topics: at least two are needed")
    return {name: number for number, name in enumerate(names)}


def _pairs(
    rows: Iterable[tuple[str, str]], numbers: Mapping[str, int]
) -> Iterable[tuple[str, int]]:
    return ((text, numbers[label]) for text, label in rows if label in numbers)


def _without_test_texts(found: TopicSet) -> TopicSet:
    held_out = {row.text.casefold() for row in found.test}
    train = tuple(row for row in found.train if row.text.casefold() not in held_out)
    if not train:
        raise DataError(f"{found.name} holds no row that can be trained on")
    if not found.test:
        raise DataError(f"{found.name}: none of its {len(train)} rows is a test row: give more")
    return TopicSet(found.name, found.labels, train, found.test)
