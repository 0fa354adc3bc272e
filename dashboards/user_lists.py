"""The users served last and their lists as they stand in Redis, for the page that watches them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from msgspec import Struct

from infra.serving import StoredList

MOST_USERS = 24
ITEMS_SHOWN = 10


class ItemWords(Struct, frozen=True):
    """What people read of an item, and by what they find it."""

    title: str
    topics: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    language: str = ""


class Lists(Protocol):
    """What is needed of `infra.serving.AsyncRedisTopKStore`."""

    async def recent(self, tenant: str) -> list[str]:
        """Users, newest first."""

    async def read(self, tenant: str, user: str) -> StoredList | None:
        """One user's list."""

    async def read_many(self, tenant: str, users: Sequence[str]) -> list[StoredList | None]:
        """Several users' lists."""


class ShownItem(Struct, frozen=True):
    """One place of a list."""

    id: str
    title: str
    topics: tuple[str, ...]
    score: float


class ShownList(Struct, frozen=True):
    """A user and the top of his list; `version` is "epoch-seq"."""

    user: str
    version: str
    watermark: datetime | None
    policy: str
    items: list[ShownItem]


class Action(Struct, frozen=True):
    """Something a user did lately."""

    type: str
    item: str
    title: str
    at: datetime


ItemNamer = Callable[[str, str], ItemWords]

# By the pseudonym: the warehouse knows no user.
ACTIONS = """SELECT type, item_id, received_at FROM interactions
WHERE tenant = %(tenant)s AND user_key = %(user_key)s AND received_at >= %(since)s
ORDER BY received_at DESC, offset DESC LIMIT 6"""


async def recent_lists(store: Lists, tenant: str, name: ItemNamer) -> list[ShownList]:
    """The users served last, newest first, each with the top of his list."""
    users = (await store.recent(tenant))[:MOST_USERS]
    if not users:
        return []
    stored = await store.read_many(tenant, users)
    return [shown(tenant, user, found, name) for user, found in zip(users, stored, strict=True)]


async def one_list(store: Lists, tenant: str, user: str, name: ItemNamer) -> ShownList:
    """One user's list, empty where there is none."""
    return shown(tenant, user, await store.read(tenant, user), name)


def shown(tenant: str, user: str, stored: StoredList | None, name: ItemNamer) -> ShownList:
    """A stored list with the words of its items."""
    if stored is None:
        return ShownList(user, "", None, "", [])
    items = []
    for item_id, score in list(zip(stored.items, stored.scores, strict=False))[:ITEMS_SHOWN]:
        words = name(tenant, item_id)
        items.append(ShownItem(item_id, words.title, words.topics, round(score, 3)))
    epoch, seq = stored.version
    return ShownList(user, f"{epoch}-{seq}", at_ms(stored.watermark_ms), stored.policy, items)


def at_ms(unix_ms: int) -> datetime | None:
    """Unix milliseconds as a time; None where the list knows none."""
    try:
        return datetime.fromtimestamp(unix_ms / 1000, UTC) if unix_ms > 0 else None
    except (OverflowError, ValueError, OSError):
        return None
