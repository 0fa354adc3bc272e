"""What the top-K store keeps: the wire form of a list, the keys, and the seam `TopKStore`.

topk:<tenant>:<user>        the user's list, expires without an event
popular:<tenant>            the fallback list, same form, does not expire
popular:<tenant>:<part>     the same of a part: topic:…, language:… or surface:…
profile:<tenant>:<user>     the flags of a profile, JSON
recent:<tenant>             LIST of the users served last, newest first
epoch:<topic>:<partition>   counter of a partition's owners
counts:<tenant>             HASH of numbers that all workers add to: views and clicks of new items
alerts:<tenant>             pub/sub channel
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

FORMAT = 1
RECENT_USERS = 100
COUNTS_SECONDS = 90 * 86_400  # without an addition, and they expire

# A deleted user's key holds this for a while: a list that was in flight while he was deleted is
# older than any tombstone and cannot bring him back. Not longer: the key names him. The worker
# deletes him once more when it has forgotten him, and makes no list of him afterwards.
TOMBSTONE_EPOCH = 2**48
TOMBSTONE_SECONDS = 30.0
DELETED = "deleted"


class StoredList(Struct, frozen=True, array_like=True):
    """A list as it is stored: msgpack `[format, [epoch, seq], watermark_ms, [ids], [scores], …]`.

    Readers ignore what follows the elements they know.

    Attributes:
        version: (epoch, seq); a stored list is replaced by a greater version only.
        watermark_ms: event time up to which the list knows everything, Unix milliseconds.
        items: item ids, best first; empty: treat as if there were no list.
        scores: one a item, descending, no unit.
        policy: what made the list.
        seed: makes any randomness in the list replayable.
        explored: (place from 0, propensity) of each slot that explores.
        near: (item, item of the user's) of what is listed for what its text says.
    """

    format: int
    version: tuple[int, int]
    watermark_ms: int
    items: list[str]
    scores: list[float]
    policy: str
    seed: int
    explored: list[tuple[int, float]] = []
    near: list[tuple[str, str]] = []


class ListWrite(Struct, frozen=True):
    """A user and the list to store for him."""

    tenant: str
    user: str
    list: StoredList


class ProfileFlags(Struct, frozen=True):
    """What a reader must know of a profile; the defaults hold for a user without one."""

    personalise: bool = True
    deleted: bool = False
    interests: tuple[str, ...] = ()


class TopKStore(Protocol):
    """Where lists are served from. Every write is atomic for its user."""

    def write_many(self, writes: Sequence[ListWrite], ttl_seconds: float) -> list[bool]:
        """Store lists; one answer a write: False where the stored version is not smaller.

        Raises:
            ValueError: `ttl_seconds` is not positive.
        """

    def read(self, tenant: str, user: str) -> StoredList | None:
        """The user's list; None: none, or not readable by this version of the code."""

    def read_many(self, tenant: str, users: Sequence[str]) -> list[StoredList | None]:
        """The users' lists, in the order asked."""

    def write_popular(
        self, tenant: str, list: StoredList, ttl_seconds: float | None = None
    ) -> bool:
        """Store the tenant's fallback list; False where the stored version is not smaller.

        It stays for good where no `ttl_seconds` is given.
        """

    def popular(self, tenant: str) -> StoredList | None:
        """The tenant's fallback list."""

    def next_epoch(self, topic: str, partition: int, above: int = 0) -> int:
        """A number greater than `above` and every one given out before for this partition.

        The store may have lost what it gave out: `above` is what is known from elsewhere.
        """

    def publish_alert(self, tenant: str, payload: bytes) -> None:
        """Send to whoever listens on `alerts:<tenant>` now; nobody listening is no error."""

    def note_recent(self, users: Sequence[tuple[str, str]]) -> None:
        """Move these (tenant, user) to the front of their tenant's recent users."""

    def recent(self, tenant: str) -> list[str]:
        """At most 100 users, newest first, none twice."""

    def count(self, tenant: str, added: Mapping[str, int], wanted: Sequence[str]) -> list[int]:
        """Add to the tenant's named numbers, and read some: 0 where nothing was added yet."""

    def write_profile(
        self, tenant: str, user: str, *, personalise: bool = True, interests: Sequence[str] = ()
    ) -> None:
        """Store the flags of a profile; lifts a deletion."""

    def read_profile(self, tenant: str, user: str) -> ProfileFlags:
        """The flags, defaults for a user without a profile."""

    def delete_user(self, tenant: str, user: str) -> None:
        """Remove list, profile and recent entry; lists in flight stay out for half a minute."""


def list_key(tenant: str, user: str) -> str:
    """Key of a user's list."""
    return f"topk:{tenant}:{user}"


def popular_key(tenant: str) -> str:
    """Key of a tenant's fallback list."""
    return f"popular:{tenant}"


def profile_key(tenant: str, user: str) -> str:
    """Key of a user's profile flags."""
    return f"profile:{tenant}:{user}"


def recent_key(tenant: str) -> str:
    """Key of a tenant's recently served users."""
    return f"recent:{tenant}"


def counts_key(tenant: str) -> str:
    """Key of a tenant's numbers."""
    return f"counts:{tenant}"


def epoch_key(topic: str, partition: int) -> str:
    """Key of a partition's epoch counter."""
    return f"epoch:{topic}:{partition}"


def alerts_channel(tenant: str) -> str:
    """Channel on which a tenant's alerts are published."""
    return f"alerts:{tenant}"


_encoder = msgspec.msgpack.Encoder()
_list_decoder = msgspec.msgpack.Decoder(StoredList)
_profile_decoder = msgspec.json.Decoder(ProfileFlags)


def encode_list(stored: StoredList) -> bytes:
    """The stored form of a list."""
    return _encoder.encode(stored)


def decode_list(data: bytes | None) -> StoredList | None:
    """A list from its stored form; None for nothing, a tombstone, or what cannot be read."""
    if data is None:
        return None
    try:
        stored = _list_decoder.decode(data)
    except msgspec.DecodeError:
        return None
    return None if stored.policy == DELETED else stored


def encode_profile(flags: ProfileFlags) -> bytes:
    """The stored form of profile flags."""
    return msgspec.json.encode(flags)


def decode_profile(data: bytes | None) -> ProfileFlags:
    """Flags from their stored form. What cannot be read counts as an opt-out, never as consent."""
    if data is None:
        return ProfileFlags()
    try:
        return _profile_decoder.decode(data)
    except msgspec.DecodeError:
        return ProfileFlags(personalise=False)


def tombstone() -> StoredList:
    """What stands in a deleted user's place for a while."""
    return StoredList(FORMAT, (TOMBSTONE_EPOCH, 0), 0, [], [], DELETED, 0)
