"""popular parts: what is popular among a topic's or a language's items, and on a surface.

For users without a list of their own. Topics and languages are parts of the tenant's popular list,
a long one; surfaces are counted by ClickHouse, because the learner does not tell them apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from infra.telemetry import get_logger
from infra.warehouse import TransientError, Warehouse, WarehouseError
from online.learner import Learner
from online.topk import TopK
from streams.catalog import Catalog

log = get_logger("popular")

LONG = 1_000  # items that parts are taken from
MOST_PARTS = 1_000  # lists a tenant
FEWEST = 2  # items of a list
SURFACE = "surface:"
SURFACE_DAYS = 7
MOST_SURFACES = 20

ON_SURFACES = """SELECT surface, item_id, uniq(user_key) AS users FROM interactions
WHERE tenant = %(tenant)s AND surface != '' AND received_at >= %(since)s
GROUP BY surface, item_id ORDER BY users DESC, item_id LIMIT %(size)s BY surface LIMIT %(most)s"""


def among_items(learner: Learner, catalog: Catalog, tenant: str, size: int) -> dict[str, TopK]:
    """`topic:…` and `language:…` → its popular list."""
    found: dict[str, list[int]] = {}
    top = learner.popular(LONG)
    for place, item in enumerate(top.items):
        for part in _parts(catalog, tenant, item):
            if part in found or len(found) < MOST_PARTS:
                found.setdefault(part, []).append(place)
    return {
        part: TopK([top.items[at] for at in places[:size]], top.scores[places[:size]], top.policy)
        for part, places in found.items()
        if len(places) >= FEWEST
    }


def _parts(catalog: Catalog, tenant: str, item: str) -> Iterator[str]:
    known = catalog.item((tenant, item))
    if known is not None:
        yield from (f"topic:{topic}" for topic in known.topics)
        if known.language:
            yield f"language:{known.language}"


def without_hidden(part: str, top: TopK, catalog: Catalog, tenant: str, size: int) -> TopK:
    """The first so many of a part's list that may be shown and still have its topic or language.

    It was found earlier, and ClickHouse counts what was, not what is.
    """
    everywhere = part.startswith(SURFACE)
    shown = [
        at
        for at, item in enumerate(top.items)
        if catalog.may_show(tenant, item) and (everywhere or part in _parts(catalog, tenant, item))
    ][:size]
    return TopK([top.items[at] for at in shown], top.scores[shown], top.policy)


async def on_surfaces(warehouse: Warehouse, tenant: str, size: int) -> dict[str, TopK]:
    """`surface:…` → what most users took there lately; {} while ClickHouse is away."""
    since = datetime.now(UTC) - timedelta(days=SURFACE_DAYS)
    given = {"tenant": tenant, "since": since, "size": size, "most": size * MOST_SURFACES}
    try:
        rows = await asyncio.to_thread(warehouse.query, ON_SURFACES, given)
    except (TransientError, WarehouseError) as error:
        log.warning("clickhouse.away", error=str(error)[:200])
        return {}
    found: dict[str, list[tuple[str, int]]] = {}
    for row in rows:
        found.setdefault(row["surface"], []).append((row["item_id"], row["users"]))
    return {
        f"{SURFACE}{surface}": TopK(
            [item for item, _ in items],
            np.log([users for _, users in items]).astype(np.float32),
            "popular",
        )
        for surface, items in list(found.items())[:MOST_SURFACES]
        if len(items) >= FEWEST
    }
