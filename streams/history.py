"""A history to train on: users, items and weights, from a file or from ClickHouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from infra.settings import UserError
from infra.warehouse import Warehouse
from online.arrays import F64, I32

PAIRS_AT_ONCE = 500_000  # of a user and an item, read in one query

# A purchase and praise count twice a click, as they do in the learner; a complaint does not count.
WEIGHT = "multiIf(kind IN (1, 2), 2, 1)"
POSITIVE = "tenant = %(tenant)s AND kind != 4"


class History(NamedTuple):
    """Interactions, in the order of the source.

    Attributes:
        item_ids: the ids by number; users: how many there are.
        user, item: int32[n], numbers; weight: float64[n].
        events: interactions, where rows are sums of several.
        skipped: rows left out.
    """

    item_ids: list[str]
    users: int
    user: I32
    item: I32
    weight: F64
    events: int
    skipped: int


class _Taken:
    def __init__(self) -> None:
        self.users: dict[str, int] = {}
        self.items: dict[str, int] = {}
        self.rows: list[tuple[int, int, float]] = []

    def add(self, user: str, item: str, weight: float) -> None:
        self.rows.append((
            self.users.setdefault(user, len(self.users)),
            self.items.setdefault(item, len(self.items)),
            weight,
        ))  # fmt: skip

    def history(self, source: str, events: int, skipped: int) -> History:
        if not self.rows:
            raise UserError(f"{source}: no interaction to learn from")
        user, item, weight = (np.array(column) for column in zip(*self.rows, strict=True))
        return History(
            list(self.items), len(self.users), user.astype(np.int32), item.astype(np.int32),
            weight.astype(np.float64), events, skipped,
        )  # fmt: skip


def from_file(path: Path, mapped: str, rating: str | None, min_rating: float | None) -> History:
    """Rows of a CSV or JSONL file, each of weight 1, in the file's order.

    Raises:
        UserError: the file or a column cannot be used, or no row is left.
    """
    from streams.lists_file import id_of, is_rated
    from streams.replay_columns import choose, parse_map
    from streams.replay_row import LeftOut, UnreadableRowError
    from streams.replay_rows import RowFile

    chosen = parse_map(mapped)
    if rating is not None:
        chosen["rating"] = rating
    needed = ["user", "item"] + (["rating"] if min_rating is not None else [])
    taken, left_out = _Taken(), LeftOut()
    with RowFile(path) as rows:
        columns = choose(rows.columns, chosen, needed).of
        for row in rows:
            try:
                user, item = (id_of(row, columns, field) for field in ("user", "item"))
                good = is_rated(row, columns, min_rating)
            except UnreadableRowError as problem:
                left_out.add(row, problem)
                continue
            if good:
                taken.add(user, item, 1.0)
    left_out.tell(path)
    return taken.history(str(path), len(taken.rows), left_out.count)


def from_clickhouse(warehouse: Warehouse, tenant: str) -> History:
    """What a tenant's users did, summed by user and item; complaints left out.

    Raises:
        UserError: ClickHouse does not answer, or has no interactions of the tenant.
    """
    warehouse.check()
    taken, events = _Taken(), 0
    for row in pairs_in_pages(warehouse, tenant, f"sum({WEIGHT}) AS weight, count() AS events"):
        taken.add(row["user_key"], row["item_id"], float(row["weight"]))
        events += row["events"]
    return taken.history(f"ClickHouse, tenant {tenant!r}", events, 0)


def pairs_in_pages(warehouse: Warehouse, tenant: str, what: str) -> Iterator[dict[str, Any]]:
    """`user_key`, `item_id` and what is said of the two, in SQL, by user and item.

    A few users at a time, so that no answer is larger than memory.
    """
    counted = warehouse.query(
        f"SELECT count() AS rows FROM interactions WHERE {POSITIVE}", {"tenant": tenant}
    )[0]["rows"]
    pages = 1 + counted // PAIRS_AT_ONCE
    for page in range(pages):
        yield from warehouse.query(
            f"SELECT user_key, item_id, {what}"
            f" FROM interactions WHERE {POSITIVE} AND cityHash64(user_key) %% %(pages)s = %(page)s"
            " GROUP BY user_key, item_id ORDER BY user_key, item_id",
            {"tenant": tenant, "pages": pages, "page": page},
        )
