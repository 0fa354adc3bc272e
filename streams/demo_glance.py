"""What there is to see while the demo runs, gathered once a second from the outside."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import datetime
from typing import Any

from msgspec import Struct

from infra.serving import RedisTopKStore
from infra.telemetry import get_logger
from infra.warehouse import TransientError, Warehouse
from streams.demo_feed import Feed
from streams.demo_parts import Parts
from streams.freshness import FreshnessSummary, FreshnessWatch
from streams.sender import Sender

USERS, ITEMS = 3, 3
QUIET_SECONDS = 12.0  # a watched user whose list stands still so long makes room for another

log = get_logger("demo")


class UserList(Struct, frozen=True):
    """The head of one user's list; `changed` marks the places that are new since the last look."""

    user: str
    titles: tuple[str, ...]
    changed: tuple[bool, ...]


class AlertSeen(Struct, frozen=True):
    """An alert as a newcomer wants to read it."""

    what: str
    negatives: int
    comments: int
    share: float
    baseline: float
    started_at: datetime
    example: str


class Glance(Struct, frozen=True):
    """One look; rates are nan where nothing was measured yet."""

    seconds: float
    events_in: int
    per_second: float
    learned: int
    comments: int
    freshness: FreshnessSummary
    hr10: float
    popularity_hr10: float
    lists: tuple[UserList, ...]
    alerts: tuple[AlertSeen, ...]


class _Watched(Struct):
    """A user being watched."""

    items: list[str]
    moved_at: float


class Watch:
    """Looks at Redis, ClickHouse and the sender. `look` is for one caller at a time."""

    def __init__(self, parts: Parts, feed: Feed, sender: Sender, freshness: FreshnessWatch) -> None:
        self._store = RedisTopKStore.connect(parts.stack.redis_url)
        self._away: tuple[type[Exception], ...] = (
            TransientError,
            *self._store.transient_errors,
        )
        self._warehouse = Warehouse(parts.stack.clickhouse_url)
        self._feed, self._sender, self._freshness = feed, sender, freshness
        self._watched: dict[str, _Watched] = {}
        self._asking = threading.Lock()  # a look that is broken off goes on in its thread
        self._began = time.monotonic()
        self._before = (self._began, 0)
        self._figures: dict[str, Any] = {}
        self._alerts: tuple[AlertSeen, ...] = ()

    async def look(self) -> Glance:
        """One look at everything."""
        lists = await asyncio.to_thread(self._ask)
        now, events = time.monotonic(), self._sender.events_in
        then, earlier = self._before
        self._before = (now, events)
        figures = self._figures
        return Glance(
            now - self._began,
            events,
            (events - earlier) / max(now - then, 1e-3),
            figures.get("events", 0),
            figures.get("comments", 0),
            self._freshness.summary(),
            figures.get("hr10", float("nan")),
            figures.get("popularity_hr10", float("nan")),
            lists,
            self._alerts,
        )

    def close(self) -> None:
        """Disconnect, once nobody asks any more."""
        with self._asking:
            self._warehouse.close()

    def _ask(self) -> tuple[UserList, ...]:
        with self._asking:
            return self._answers()

    def _answers(self) -> tuple[UserList, ...]:
        try:
            self._figures = self._warehouse.query(
                "SELECT sum(events) AS events, sum(hits) / sum(evaluated) AS hr10,"
                " sum(popularity_hits) / sum(evaluated) AS popularity_hr10,"
                " (SELECT count() FROM scored_comments) AS comments FROM learner_rollup"
            )[0]
            rows = self._warehouse.query(
                "SELECT * FROM alerts WHERE state = 'firing' ORDER BY raised_at LIMIT 1 BY"
                " fingerprint"
            )
            self._alerts = tuple(self._alert(row) for row in rows)
            return self._lists()
        except self._away as error:
            log.warning("demo.look_failed", error=type(error).__name__)
            return ()

    def _lists(self) -> tuple[UserList, ...]:
        tenant, now = self._feed.tenant, time.monotonic()
        for user in self._store.recent(tenant):
            if len(self._watched) == USERS:
                break
            self._watched.setdefault(user, _Watched([], now))
        users = list(self._watched)
        shown = []
        for user, stored in zip(users, self._store.read_many(tenant, users), strict=True):
            watched = self._watched[user]
            items = stored.items[:ITEMS] if stored else []
            changed = tuple(item not in watched.items for item in items)
            if items != watched.items:
                watched.items, watched.moved_at = items, now
            elif now - watched.moved_at > QUIET_SECONDS:
                del self._watched[user]
            shown.append(UserList(user, tuple(map(self._title, items)), changed))
        return tuple(shown)

    def _title(self, item: str) -> str:
        return self._feed.titles.get((self._feed.tenant, item), item)

    def _alert(self, row: dict[str, Any]) -> AlertSeen:
        examples = json.loads(row["examples"] or "[]")
        kind, _, name = row["key"].partition(":")
        return AlertSeen(
            row["title"] or (f"{kind} {name}" if name else "all comments"),
            row["negatives"],
            row["comments"],
            row["share"],
            row["baseline"],
            row["started_at"],
            examples[0]["text"] if examples else "",
        )
