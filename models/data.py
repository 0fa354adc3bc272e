"""Labelled comments: readers of the known sets, of a CSV of one's own, and the fixed splits.

A row belongs to the test part by the MD5 of its normalised text, so that everybody who trains
leaves out the same rows, whatever order the file has. Sets that came with a split keep it. A text
that stands in any test part is dropped from every training part.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from msgspec import Struct

from models.errors import DataError
from models.hygiene import clean, normalise

NEGATIVE, NEUTRAL, POSITIVE = 0, 1, 2
LABELS = ("negative", "neutral", "positive")
OWN_TEST_SHARE = 0.1
# A file, its column of texts and that of labels → both of every row, as they stand there.
Reader = Callable[[Path, str, str], Iterable[tuple[str, str]]]
csv.field_size_limit(16 * 1024 * 1024)


class Comment(Struct, frozen=True):
    """A cleaned text and its label (0 negative, 1 neutral, 2 positive)."""

    text: str
    label: int


class LabelledSet(Struct, frozen=True):
    """One set. `two_class`: it knows no neutral, so nothing is learned about neutral from it;
    `phrases`: as a `Source` says."""

    name: str
    two_class: bool
    train: tuple[Comment, ...]
    test: tuple[Comment, ...]
    phrases: bool = False


class Source(Struct, frozen=True):
    """Where a known set lies in a data folder and how its columns read.

    `phrases`: rows are parts of sentences, and a sentence's parts are on both sides of its makers'
    split: a test row that stands inside a training text is no test.
    """

    files: tuple[str, ...]
    label_column: str
    two_class: bool = False
    test_share: float = 0.0
    test_files: tuple[str, ...] = ()
    phrases: bool = False


# Named for their folders; anchors of accuracy are in the model card.
SOURCES = {
    "sent-zh-shopping10": Source(("reviews.csv.gz",), "label", two_class=True, test_share=0.1),
    "sent-zh-htl": Source(("reviews.csv.gz",), "label", two_class=True, test_share=0.2),
    "sent-zh-weibo3": Source(("eval.csv.gz", "test.csv.gz"), "label3", test_share=0.25),
    "sent-en-tweet3": Source(("val.csv.gz",), "label", test_files=("test.csv.gz",)),
    "sent-en-finphrase3": Source(("sentences.csv.gz",), "label", test_share=0.25),
    "sent-en-sst2": Source(
        ("train.csv.gz",), "label", two_class=True, test_files=("dev.csv.gz",), phrases=True
    ),
    "stream-en-airline": Source(("tweets.csv.gz",), "airline_sentiment", test_share=0.2),
}


def read_columns(path: Path, text_column: str, label_column: str) -> Iterator[tuple[str, str]]:
    """Text and label of every row of a CSV(.gz), as they stand there.

    Raises:
        DataError: the file cannot be read, or a column is missing.
    """
    try:
        with _open(path) as lines:
            table = csv.DictReader(lines)
            columns = table.fieldnames or ()
            missing = {text_column, label_column} - set(columns)
            if missing:
                raise DataError(
                    f"{path} has no column {min(missing)!r}, it has {', '.join(columns)}"
                )
            yield from ((row[text_column] or "", row[label_column] or "") for row in table)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def load_sets(
    data: Path, without: Sequence[str] = (), read: Reader = read_columns
) -> list[LabelledSet]:
    """Read every known set under a folder, or one file with the columns text and label.

    Args:
        data: a folder with a folder per set (names as in `SOURCES`), or a file; one of a known set
            stands for that set.
        without: sets to leave out entirely.
        read: reads a file of one's own.

    Raises:
        DataError: nothing to read, an unknown name in `without`, or a label nobody understands.
    """
    if data.is_file() and data.parent.name in SOURCES:  # `test_share` says that it is that set
        return _without_test_texts([read_source(data.parent, SOURCES[data.parent.name])])
    if data.is_file():
        return [read_file(data, read)]
    if not data.is_dir():
        raise DataError(f"{data} does not exist: give a folder of sets or a CSV with text,label")
    unknown = set(without) - set(SOURCES)
    if unknown:
        raise DataError(f"unknown set {min(unknown)!r}; known are {', '.join(SOURCES)}")
    names = [name for name in SOURCES if name not in without and (data / name).is_dir()]
    if not names:
        raise DataError(f"{data} holds none of the known sets ({', '.join(SOURCES)})")
    return _without_test_texts([read_source(data / name, SOURCES[name]) for name in names])


def read_file(path: Path, read: Reader = read_columns) -> LabelledSet:
    """A file of one's own; one row in ten is kept for the test, rows without a label are left out.

    Labels: 0/1, 0/1/2, -1/0/1, or words that begin with neg, neu, pos.

    Raises:
        DataError: a column is missing, a label is not understood, or no row is left of what cannot
            be done without: negative and positive ones to train on, and any to test.
    """
    known = [(text, label) for text, label in read(path, "text", "label") if label.strip()]
    reading = label_reading({label for _, label in known})
    train, test = split(((text, reading(label)) for text, label in known), OWN_TEST_SHARE)
    two_class = all(comment.label != NEUTRAL for comment in (*train, *test))
    found = _without_test_texts([LabelledSet(path.name, two_class, train, test)])[0]
    for label in (NEGATIVE, POSITIVE):
        if all(comment.label != label for comment in found.train):
            raise DataError(f"{path} has no {LABELS[label]} row that can be trained on")
    if not found.test:
        raise DataError(
            f"{path}: none of its {len(found.train)} rows is a test row, which one in ten is by "
            "its text: give more rows"
        )
    return found


def label_reading(labels: set[str]) -> Callable[[str], int]:
    """How the labels of a column read as negative, neutral, positive; 1.0 reads as 1.

    Raises:
        DataError: the labels are none of the known kinds, or of two of them.
    """
    kinds = (
        ({"0", "1"}, {"0": NEGATIVE, "1": POSITIVE}),
        ({"0", "1", "2"}, {"0": NEGATIVE, "1": NEUTRAL, "2": POSITIVE}),
        ({"-1", "0", "1"}, {"-1": NEGATIVE, "0": NEUTRAL, "1": POSITIVE}),
    )
    plain = {_plain(label) for label in labels}
    if plain == {"1", "2"}:
        raise DataError(
            "labels 1 and 2 alone are read in two ways: use negative, neutral, positive"
        )
    for allowed, numbers in kinds:
        if plain and plain <= allowed:
            return lambda label, numbers=numbers: numbers[_plain(label)]  # type: ignore[misc]
    words = {"neg": NEGATIVE, "neu": NEUTRAL, "pos": POSITIVE}
    odd = sorted(label for label in plain if label[:3] not in words)
    if odd or not plain:
        raise DataError(f"labels not understood: {odd[:3]}; use negative, neutral, positive")
    return lambda label: words[_plain(label)[:3]]


def _plain(label: str) -> str:
    # Whole numbers of a column that has gaps are written 1.0 by pandas.
    return label.strip().lower().removesuffix(".0")


def test_share(path: Path) -> float:
    """The share of a file's rows that are test rows, as training would split it."""
    source = SOURCES.get(path.parent.name)
    if source is None:
        return OWN_TEST_SHARE
    return 1.0 if path.name in source.test_files else source.test_share


def in_test_part(text: str, share: float) -> bool:
    """Whether a normalised text belongs to the test part: MD5 as a number in [0, 1) < share."""
    digest = hashlib.md5(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
    return int(digest[:8], 16) / 2**32 < share


def fingerprint(rows: Iterable[Comment]) -> str:
    """12 digits that stand for texts and labels, in their order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.label} {row.text}\n".encode())
    return digest.hexdigest()[:12]


def read_source(folder: Path, source: Source) -> LabelledSet:
    """One known set, as it lies in its folder."""
    train, test = split(_labelled(folder, source, source.files), source.test_share)
    if source.test_files:
        _, test = split(_labelled(folder, source, source.test_files), 1.0)
    return LabelledSet(folder.name, source.two_class, train, test, source.phrases)


def _labelled(folder: Path, source: Source, files: Iterable[str]) -> Iterator[tuple[str, int]]:
    rows = [
        row for file in files for row in read_columns(folder / file, "text", source.label_column)
    ]
    # An empty label marks a row that its makers found ambiguous.
    known = [(text, label) for text, label in rows if label]
    reading = label_reading({label for _, label in known})
    return ((text, reading(label)) for text, label in known)


def outside_training(path: Path, test: list[Comment]) -> list[Comment]:
    """`test`, read from a known set's test file, without what its training texts contain."""
    source = SOURCES.get(path.parent.name)
    if source is None or not source.phrases or path.name not in source.test_files:
        return test
    return list(outside(test, read_source(path.parent, source).train))


def outside(test: Iterable[Comment], train: Iterable[Comment]) -> tuple[Comment, ...]:
    """The test rows that stand in no training text."""
    texts = "\n".join({comment.text.casefold() for comment in train})
    return tuple(comment for comment in test if comment.text.casefold() not in texts)


def parts(texts: Sequence[str]) -> list[bool]:
    """Which texts stand, as whole words, in another one."""
    split = [text.casefold().split() for text in texts]
    known = {" ".join(words) for words in split}
    inside: set[str] = set()
    for words in split:
        for start in range(len(words)):
            for end in range(start + 1, len(words) + (start > 0)):  # not the whole of it
                if (span := " ".join(words[start:end])) in known:
                    inside.add(span)
    return [" ".join(words) in inside for words in split]


def split(
    pairs: Iterable[tuple[str, int]], test_share: float
) -> tuple[tuple[Comment, ...], tuple[Comment, ...]]:
    """Training and test part of texts with their labels' numbers, cleaned."""
    parts: tuple[list[Comment], list[Comment]] = ([], [])
    for text, label in pairs:
        cleaned = clean(text)
        if not cleaned.flagged:
            test = in_test_part(normalise(text), test_share)
            parts[test].append(Comment(cleaned.text, label))
    return tuple(parts[0]), tuple(parts[1])


def _without_test_texts(sets: list[LabelledSet]) -> list[LabelledSet]:
    held_out = {comment.text.casefold() for each in sets for comment in each.test}
    return [
        LabelledSet(
            each.name,
            each.two_class,
            tuple(comment for comment in each.train if comment.text.casefold() not in held_out),
            outside(each.test, each.train) if each.phrases else each.test,
            each.phrases,
        )
        for each in sets
    ]
