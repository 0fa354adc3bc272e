"""What a text ranker is trained on: who took what when, and what the items say."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from infra.settings import UserError

if TYPE_CHECKING:
    from infra.warehouse import Warehouse
    from online.arrays import F64, I64
    from online.content_items import ItemContent
    from online.prequential_stream import Stream
    from streams.lists_items import ItemColumns

FEWEST_PAIRS = 20


class Told(NamedTuple):
    """A history over a catalogue.

    Attributes:
        users, items: int64[events] in the order of time, items by their place in the catalogue.
        times: float64[events], epoch seconds.
        texts: of every item of the catalogue, as the trunk reads it.
        content: the same items' words, tags and scripts, as the learner has them.
        unknown: events left out, because nothing is said of their item.
    """

    users: I64
    items: I64
    times: F64
    texts: list[str]
    content: ItemContent
    unknown: int

    @property
    def mark(self) -> str:
        """A digest of all of it."""
        digest = hashlib.blake2b(digest_size=16)
        for array in (self.users, self.items):
            digest.update(array.tobytes())
        digest.update("\0".join(self.texts).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def told(stream: Stream, items: Path, columns: ItemColumns) -> Told:
    """A stream over the catalogue in a file.

    Raises:
        UserError: the file or a column cannot be used, or nothing is left to learn from.
    """
    import numpy as np

    from streams.embedding_client import PREFIX
    from streams.lists_items import read_items, read_spoken

    if not columns.text:
        raise UserError("--item-text: say which columns of the items the model reads")
    content = read_items(items, columns, None)
    spoken = read_spoken(items, columns)
    number = {item: at for at, item in enumerate(content.ids)}
    of = np.array([number.get(item, -1) for item in stream.item_ids], np.int64)[stream.items]
    known = of >= 0
    if known.sum() - len(np.unique(stream.users[known])) < FEWEST_PAIRS:
        raise UserError(f"{items}: too few users met two items that are described there")
    return Told(
        stream.users[known].astype(np.int64), of[known], stream.times[known],
        [PREFIX + spoken[item] for item in content.ids], content, int((~known).sum()),
    )  # fmt: skip


def from_clickhouse(warehouse: Warehouse, tenant: str) -> Stream:
    """What a tenant's users took, each item once, in the order of time; complaints left out.

    Raises:
        UserError: ClickHouse does not answer, or has no interactions of the tenant.
    """
    from online.prequential_stream import StreamBuilder
    from streams.history import pairs_in_pages

    warehouse.check()
    what = "min(toUnixTimestamp64Milli(occurred_at)) AS first"
    rows = [
        (row["first"] / 1e3, row["user_key"], row["item_id"])
        for row in pairs_in_pages(warehouse, tenant, what)
    ]
    if not rows:
        raise UserError(f"ClickHouse, tenant {tenant!r}: no interaction to learn from")
    builder = StreamBuilder()
    for when, user, item in sorted(rows):
        builder.add(user, item, when)
    return builder.build()
