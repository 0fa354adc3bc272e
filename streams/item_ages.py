"""How old what lists show is: lists, views and purchases by item age, time to a first list.

Of the lists every eighth is looked at: what is counted must cost a list next to nothing.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence

from infra.metrics import WorkerMetrics
from infra.serving import ListWrite
from streams.events import Item

ONE_IN = 8
HEAD = 10  # places of a list that count
MOST_AWAITED = 10_000
DAY_SECONDS = 86_400.0
AGES = ((1.0, "day"), (7.0, "week"), (30.0, "month"))


class ItemAges:
    """Knows when items were published, and counts.

    Args:
        metrics: where it counts.
        most: items that it knows at most.
    """

    def __init__(self, metrics: WorkerMetrics, most: int) -> None:
        self._metrics = metrics
        self._most = most
        self._published: dict[tuple[str, str], float] = {}
        self._awaited: dict[tuple[str, str], float] = {}
        self._every = itertools.cycle(range(ONE_IN))

    def put(self, item: Item, arrived: bool) -> None:
        """Take an item as it is now; `arrived`: it was not there when the worker started."""
        key = (item.tenant, item.item_id)
        if key not in self._published and len(self._published) >= self._most:
            return
        at = item.published_at
        self._published[key] = at.timestamp() if at else 0.0
        if arrived and item.available and len(self._awaited) < MOST_AWAITED:
            self._awaited[key] = time.monotonic()

    def listed(self, writes: Sequence[ListWrite]) -> None:
        """Lists were written."""
        for write in writes:
            if next(self._every):
                continue
            stored, tenant = write.list, write.tenant
            self.count("lists", tenant, stored.items[:HEAD], stored.watermark_ms / 1000)
            if self._awaited:
                self._first_lists(tenant, stored.items)

    def count(self, what: str, tenant: str, items: Sequence[str], now: float) -> None:
        """Count items that were listed, viewed or bought at event time `now`, epoch seconds."""
        found = Counter(self._age(self._published.get((tenant, item), 0.0), now) for item in items)
        for age, n in found.items():
            self._metrics.by_age.labels(what, age).inc(n)

    def _first_lists(self, tenant: str, items: Sequence[str]) -> None:
        for item in items:
            since = self._awaited.pop((tenant, item), None)
            if since is not None:
                self._metrics.first_list.observe(time.monotonic() - since)

    @staticmethod
    def _age(published: float, now: float) -> str:
        if not published:
            return "unknown"
        days = (now - published) / DAY_SECONDS
        return next((name for most, name in AGES if days < most), "older")
