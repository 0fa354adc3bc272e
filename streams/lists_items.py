"""A file of items for an evaluation: what each says about itself, in words and in tags."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import msgspec

from infra.settings import UserError

if TYPE_CHECKING:
    from online.config import Compared
    from online.content_items import ItemContent
    from streams.replay_row import Row
    from streams.replay_rows import RowFile

BETWEEN = "|"  # the values of a list


class ItemColumns(msgspec.Struct, frozen=True):
    """Which columns say what.

    Attributes:
        text: columns of words; tags: columns of tags, lists joined by |.
        item: the item's column, if the user named one.
    """

    text: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    item: str = ""


def names_in(option: str) -> tuple[str, ...]:
    """`title,description` as names."""
    return tuple(filter(None, (name.strip() for name in option.split(","))))


def chosen_vectors(option: str) -> list[Compared]:
    """What `--item-vectors` asks for, in its order; the first is the learner's own row.

    Raises:
        UserError: there are no such vectors.
    """
    from online.config import Compared

    there: tuple[Compared, ...] = get_args(Compared)
    if option == "all":
        return list(there)
    unknown = sorted(set(names_in(option)) - set(there))
    if unknown or not names_in(option):
        raise UserError(f"--item-vectors {option}: there are all, {', '.join(there)}")
    return [name for name in there if name in names_in(option)]


def read_items(
    data: Path, columns: ItemColumns, embeddings: Path | None, text_ranker: Path | None = None
) -> ItemContent:
    """The items of a file; of rows of one item the last counts.

    Args:
        embeddings: folder that keeps embeddings of the texts; None: none are made.
        text_ranker: what makes them; None: the frozen trunk.

    Raises:
        UserError: the file or a column cannot be used, or nothing makes embeddings.
    """
    import numpy as np

    from online.content_items import ItemContent
    from online.content_terms import script_of, terms_of
    from streams.lists_embeddings import embedded
    from streams.replay_rows import RowFile

    if not columns.text and not columns.tags:
        raise UserError("--items: say what to read of them, --item-text COLUMNS or --item-tags")
    with RowFile(data) as rows:
        described = dict(_described(rows, columns))
    if not described:
        raise UserError(f"{data}: no row has an item")
    ids = list(described)
    vectors = None
    if columns.text and embeddings is not None:
        texts = [spoken(text, tags) for text, tags in described.values()]
        vectors = embedded(texts, embeddings, text_ranker)
    terms = [terms_of(text, tags) for text, tags in described.values()]
    scripts = np.array([script_of(text) for text, _ in described.values()], np.uint8)
    return ItemContent(ids, terms, vectors, scripts)


def tell_described(data: Path, described: Sequence[str], taken: Sequence[str]) -> None:
    """Say on stderr how many items of the interactions the file describes, where it is not all.

    Raises:
        UserError: none of them; shows an id of each file, which are often written otherwise.
    """
    known = len(set(described) & set(taken))
    if not known:
        raise UserError(
            f"{data}: describes none of the items that were taken: it says "
            f"{described[0]!r}, the interactions {taken[0]!r}"
        )
    if known < len(taken):
        print(f"{data}: describes {known:,} of {len(taken):,} items", file=sys.stderr)


def read_tags(data: Path, columns: ItemColumns) -> dict[str, list[str]]:
    """Item → the values of its tags, without their columns' names.

    Raises:
        UserError: the file or a column cannot be used.
    """
    from streams.replay_rows import RowFile

    with RowFile(data) as rows:
        described = dict(_described(rows, columns))
    return {item: [t.partition("=")[2] for t in tags] for item, (_, tags) in described.items()}


def read_spoken(data: Path, columns: ItemColumns) -> dict[str, str]:
    """Item → what a language model reads of it.

    Raises:
        UserError: the file or a column cannot be used.
    """
    from streams.replay_rows import RowFile

    with RowFile(data) as rows:
        return {item: spoken(*told) for item, told in _described(rows, columns)}


def spoken(text: str, tags: Sequence[str]) -> str:
    """What a language model reads: the text, then the tags without their columns' names."""
    values = ", ".join(tag.partition("=")[2].replace("-", " ") for tag in tags)
    return ". ".join(filter(None, (text, values)))


def _described(rows: RowFile, columns: ItemColumns) -> Iterator[tuple[str, tuple[str, list[str]]]]:
    from streams.replay_columns import choose
    from streams.replay_row import LeftOut, UnreadableRowError

    there = rows.columns
    for option, names in (("--item-text", columns.text), ("--item-tags", columns.tags)):
        for name in names:
            if name not in there:
                raise UserError(f"{option} {name}: no such column; {', '.join(map(repr, there))}")
    named = {"item": columns.item} if columns.item in there else {}
    item = choose(there, named, ["item"]).of["item"]
    left_out = LeftOut()
    for row in rows:
        try:
            slot, told = row.text(item).strip(), _content(row, columns)
        except UnreadableRowError as problem:
            left_out.add(row, problem)
            continue
        if slot:
            yield slot, told
    left_out.tell(rows.path)


def _content(row: Row, columns: ItemColumns) -> tuple[str, list[str]]:
    text = ". ".join(filter(None, (row.text(name).strip() for name in columns.text)))
    tags = [f"{name}={each}" for name in columns.tags for each in _list(row, name)]
    return text, tags


def _list(row: Row, column: str) -> list[str]:
    """A list as JSON has it, or joined by |."""
    value = row.values.get(column)
    values = value if isinstance(value, list) else row.text(column).split(BETWEEN)
    return [text for each in values if each is not None and (text := str(each).strip())]
