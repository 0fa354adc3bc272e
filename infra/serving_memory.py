"""A top-K store in this process, for unit tests. Not for production: nothing else can read it."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from infra.serving_lists import (
    RECENT_USERS,
    TOMBSTONE_EPOCH,
    TOMBSTONE_SECONDS,
    ListWrite,
    ProfileFlags,
    StoredList,
    decode_list,
    encode_list,
    list_key,
    popular_key,
    profile_key,
    tombstone,
)


class MemoryTopKStore:
    """The behaviour of `RedisTopKStore`, held to it by the same suite; thread-safe.

    Args:
        clock: seconds, monotonic; expiry is measured on it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._lists: dict[str, tuple[tuple[int, int], bytes, float]] = {}
        self._profiles: dict[str, ProfileFlags] = {}
        self._counts: dict[tuple[str, str], int] = defaultdict(int)
        self._recent: dict[str, list[str]] = defaultdict(list)
        self._epochs: dict[tuple[str, int], int] = defaultdict(int)
        self.published: list[tuple[str, bytes]] = []

    def _stored(self, key: str) -> tuple[tuple[int, int], bytes] | None:
        found = self._lists.get(key)
        if found is None or found[2] <= self._clock():
            return None
        return found[0], found[1]

    def _write(self, key: str, stored: StoredList, ttl_seconds: float) -> bool:
        with self._lock:
            present = self._stored(key)
            if present is not None and stored.version <= present[0]:
                return False
            expires = self._clock() + ttl_seconds
            self._lists[key] = (stored.version, encode_list(stored), expires)
            return True

    def _read(self, key: str) -> StoredList | None:
        with self._lock:
            found = self._stored(key)
        return decode_list(found[1]) if found else None

    def write_many(self, writes: Sequence[ListWrite], ttl_seconds: float) -> list[bool]:
        """See TopKStore."""
        if ttl_seconds <= 0:
            raise ValueError(f"ttl_seconds must be positive, not {ttl_seconds}")
        return [self._write(list_key(w.tenant, w.user), w.list, ttl_seconds) for w in writes]

    def read(self, tenant: str, user: str) -> StoredList | None:
        """See TopKStore."""
        return self._read(list_key(tenant, user))

    def read_many(self, tenant: str, users: Sequence[str]) -> list[StoredList | None]:
        """See TopKStore."""
        return [self.read(tenant, user) for user in users]

    def write_popular(
        self, tenant: str, list: StoredList, ttl_seconds: float | None = None
    ) -> bool:
        """See TopKStore."""
        return self._write(popular_key(tenant), list, ttl_seconds or float("inf"))

    def popular(self, tenant: str) -> StoredList | None:
        """See TopKStore."""
        return self._read(popular_key(tenant))

    def next_epoch(self, topic: str, partition: int, above: int = 0) -> int:
        """See TopKStore."""
        with self._lock:
            self._epochs[topic, partition] = 1 + max(above, self._epochs[topic, partition])
            return self._epochs[topic, partition]

    def publish_alert(self, tenant: str, payload: bytes) -> None:
        """See TopKStore; kept in `published`."""
        self.published.append((tenant, payload))

    def note_recent(self, users: Sequence[tuple[str, str]]) -> None:
        """See TopKStore."""
        with self._lock:
            for tenant, user in users:
                others = [known for known in self._recent[tenant] if known != user]
                self._recent[tenant] = [user, *others][:RECENT_USERS]

    def recent(self, tenant: str) -> list[str]:
        """See TopKStore."""
        with self._lock:
            return list(self._recent[tenant])

    def count(self, tenant: str, added: Mapping[str, int], wanted: Sequence[str]) -> list[int]:
        """See TopKStore."""
        with self._lock:
            for name, n in added.items():
                self._counts[tenant, name] += n
            return [self._counts[tenant, name] for name in wanted]

    def write_profile(
        self, tenant: str, user: str, *, personalise: bool = True, interests: Sequence[str] = ()
    ) -> None:
        """See TopKStore."""
        flags = ProfileFlags(personalise, False, tuple(interests))
        with self._lock:
            self._profiles[profile_key(tenant, user)] = flags
            present = self._stored(list_key(tenant, user))
            if present is not None and present[0][0] >= TOMBSTONE_EPOCH:
                del self._lists[list_key(tenant, user)]

    def read_profile(self, tenant: str, user: str) -> ProfileFlags:
        """See TopKStore."""
        with self._lock:
            return self._profiles.get(profile_key(tenant, user), ProfileFlags())

    def delete_user(self, tenant: str, user: str) -> None:
        """See TopKStore."""
        grave = tombstone()
        with self._lock:
            self._profiles.pop(profile_key(tenant, user), None)
            expires = self._clock() + TOMBSTONE_SECONDS
            self._lists[list_key(tenant, user)] = (grave.version, encode_list(grave), expires)
            self._recent[tenant] = [known for known in self._recent[tenant] if known != user]
