"""Counts of people for somebody outside: each item's, a person's share bounded, with noise.

One release counts, for every item of the catalogue, the people who took it and those who wrote
something negative about it, in a period. Of one person at most `most_items` items are counted in
either (which ones: by a hash, not by what others did), so that a person changes either vector by at
most that much, and half of ε goes to each. The catalogue is public, so items that nobody took get
noise too. Numbers may be negative: what is done to them afterwards costs nothing. Releases of
overlapping periods add up: two of ε are one of 2ε.
"""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from math import ceil, exp, log
from typing import Any

import msgspec
from msgspec import Struct

from infra.warehouse import Warehouse
from streams import topics, whole_topic
from streams.events import Item
from streams.privacy import discrete_laplace

COUNTS = {
    "people": ("interactions", "1"),
    "negative": ("scored_comments", "label = 'negative'"),
}
PEOPLE = """SELECT item_id, count() AS n FROM (
  SELECT user_key, item_id FROM {table}
  WHERE tenant = %(tenant)s AND {where}
    AND received_at >= toDateTime64(%(since)s, 3, 'UTC')
    AND received_at < toDateTime64(%(until)s, 3, 'UTC')
  GROUP BY user_key, item_id ORDER BY cityHash64(user_key, item_id)
  LIMIT %(most)s BY user_key
) GROUP BY item_id"""


class Period(Struct, frozen=True):
    """Whose counts, by when they arrived: from `since` to before `until`, both aware."""

    tenant: str
    since: datetime
    until: datetime


class Release(Struct, frozen=True):
    """What goes out, and what it cost.

    Attributes:
        epsilon: of the whole release, for a person in the whole period (δ = 0).
        half_width: 95 % of the noises of one number are within ± this.
        items: item id → name of the count → number.
    """

    epsilon: float
    most_items: int
    half_width: int
    since: datetime
    until: datetime
    items: dict[str, dict[str, int]]


def release(
    warehouse: Warehouse, catalogue: list[str], period: Period, epsilon: Fraction, most_items: int
) -> Release:
    """Count, add the noise.

    Raises:
        ValueError: ε or `most_items` is not above zero.
    """
    if epsilon <= 0 or most_items < 1:
        raise ValueError("epsilon and most_items are above zero")
    scale = Fraction(most_items * len(COUNTS)) / epsilon
    counts = {name: _people(warehouse, name, period, most_items) for name in COUNTS}
    items = {
        item: {name: found.get(item, 0) + discrete_laplace(scale) for name, found in counts.items()}
        for item in sorted(catalogue)
    }
    return Release(float(epsilon), most_items, half_width(scale), period.since, period.until, items)


def half_width(scale: Fraction) -> int:
    """The least w with P(|x| > w) = 2·e^(−(w+1)/scale) / (1 + e^(−1/scale)) ≤ .05."""
    rest = 0.05 * (1 + exp(-float(1 / scale))) / 2
    return max(0, ceil(-log(rest) * float(scale)) - 1)


def _people(warehouse: Warehouse, name: str, period: Period, most: int) -> dict[str, int]:
    table, where = COUNTS[name]
    rows = warehouse.query(
        PEOPLE.format(table=table, where=where),
        {
            "tenant": period.tenant,
            "since": period.since,
            "until": period.until,
            "most": most,
        },
    )
    return {row["item_id"]: int(row["n"]) for row in rows}


async def catalogue(kafka_url: str, tenant: str) -> list[str]:
    """Items of a tenant that items.v1 holds."""
    found: dict[bytes, str] = {}
    decode = msgspec.json.Decoder(Item).decode
    async for record in whole_topic.read(kafka_url, topics.ITEMS, "springtide-export"):
        try:
            item = decode(record.value or b"")
        except msgspec.DecodeError:  # a tombstone, or what the workers have in the dead letters
            found.pop(record.key, None)
            continue
        if item.tenant == tenant:
            found[record.key] = item.item_id
    return sorted(set(found.values()))


def as_rows(released: Release) -> list[dict[str, Any]]:
    """One row an item."""
    return [{"item_id": item, **counts} for item, counts in released.items.items()]
