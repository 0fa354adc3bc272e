"""What the store asks of Redis, and how the answers read: once, for both kinds of client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha1
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from infra.serving_lists import (
    COUNTS_SECONDS,
    RECENT_USERS,
    TOMBSTONE_EPOCH,
    TOMBSTONE_SECONDS,
    ListWrite,
    ProfileFlags,
    StoredList,
    alerts_channel,
    counts_key,
    decode_list,
    decode_profile,
    encode_list,
    encode_profile,
    epoch_key,
    list_key,
    popular_key,
    profile_key,
    recent_key,
    tombstone,
)

Command: TypeAlias = tuple[Any, ...]
Answer = TypeVar("Answer")


class Request(NamedTuple, Generic[Answer]):
    """Commands for one round trip, and what their answers mean."""

    commands: list[Command]
    meaning: Callable[[list[Any]], Answer]


class Script(NamedTuple):
    """A Lua script on one key, and the digest by which the server knows it."""

    text: str
    digest: str

    def on(self, key: str, *arguments: Any) -> Command:
        """The command that runs it."""
        return ("EVALSHA", self.digest, 1, key, *arguments)


def _script(text: str) -> Script:
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


# The version is the record's third object (one byte of array header, one of format), so the first
# bytes are enough. A value that is no list of ours does not stand in a writer's way.
_VERSION = """
local function version_of(key)
  local head = redis.call('GETRANGE', key, 0, 31)
  if #head < 3 then return nil end
  local known, _, version = pcall(cmsgpack.unpack_one, head, 2)
  if known and type(version) == 'table' then return version end
end
"""

# KEYS: list; ARGV: epoch, seq, record, expiry in ms (0: none)
GUARDED_SET = _script(
    _VERSION
    + """
local version, epoch, seq = version_of(KEYS[1]), tonumber(ARGV[1]), tonumber(ARGV[2])
if version and (version[1] > epoch or (version[1] == epoch and version[2] >= seq)) then
  return 0
end
if ARGV[4] == '0' then redis.call('SET', KEYS[1], ARGV[3])
else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
return 1
"""
)

# KEYS: list; ARGV: the tombstones' epoch
LIFT_TOMBSTONE = _script(
    _VERSION
    + """
local version = version_of(KEYS[1])
if version and version[1] >= tonumber(ARGV[1]) then return redis.call('DEL', KEYS[1]) end
return 0
"""
)

# KEYS: recent users; ARGV: how many are kept, then users, the newest last
NOTE_RECENT = _script(
    """
for i = 2, #ARGV do
  redis.call('LREM', KEYS[1], 0, ARGV[i])
  redis.call('LPUSH', KEYS[1], ARGV[i])
end
redis.call('LTRIM', KEYS[1], 0, tonumber(ARGV[1]) - 1)
return 1
"""
)

# KEYS: counter; ARGV: what it must pass
NEXT_EPOCH = _script(
    """
local epoch, above = redis.call('INCR', KEYS[1]), tonumber(ARGV[1])
if epoch > above then return epoch end
redis.call('SET', KEYS[1], string.format('%.0f', above + 1))
return above + 1
"""
)

# KEYS: profile; ARGV: what it must still be (empty: none), what it becomes
EXCHANGE = _script(
    """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
)

SCRIPTS = (GUARDED_SET, LIFT_TOMBSTONE, NOTE_RECENT, NEXT_EPOCH, EXCHANGE)


def _guarded_set(key: str, stored: StoredList, expiry_ms: int) -> Command:
    epoch, seq = stored.version
    return GUARDED_SET.on(key, epoch, seq, encode_list(stored), expiry_ms)


def _nothing(_: list[Any]) -> None:
    return None


def write_many(writes: Sequence[ListWrite], ttl_seconds: float) -> Request[list[bool]]:
    """Guarded writes with expiry."""
    if ttl_seconds <= 0:
        raise ValueError(f"ttl_seconds must be positive, not {ttl_seconds}")
    expiry_ms = max(1, int(ttl_seconds * 1000))
    commands = [_guarded_set(list_key(w.tenant, w.user), w.list, expiry_ms) for w in writes]
    return Request(commands, lambda answers: [bool(answer) for answer in answers])


def read(tenant: str, user: str) -> Request[StoredList | None]:
    """One user's list."""
    return Request([("GET", list_key(tenant, user))], lambda answers: decode_list(answers[0]))


def read_many(tenant: str, users: Sequence[str]) -> Request[list[StoredList | None]]:
    """Several users' lists."""
    commands: list[Command] = [("GET", list_key(tenant, user)) for user in users]
    return Request(commands, lambda answers: [decode_list(answer) for answer in answers])


def write_popular(
    tenant: str, stored: StoredList, ttl_seconds: float | None = None
) -> Request[bool]:
    """A guarded write, without expiry where none is given."""
    command = _guarded_set(popular_key(tenant), stored, int((ttl_seconds or 0) * 1000))
    return Request([command], lambda answers: bool(answers[0]))


def popular(tenant: str) -> Request[StoredList | None]:
    """The fallback list."""
    return Request([("GET", popular_key(tenant))], lambda answers: decode_list(answers[0]))


def next_epoch(topic: str, partition: int, above: int) -> Request[int]:
    """The partition's counter, one up, or to what follows `above`."""
    command = NEXT_EPOCH.on(epoch_key(topic, partition), above)
    return Request([command], lambda answers: int(answers[0]))


def publish_alert(tenant: str, payload: bytes) -> Request[None]:
    """To the tenant's channel."""
    return Request([("PUBLISH", alerts_channel(tenant), payload)], _nothing)


def note_recent(users: Sequence[tuple[str, str]]) -> Request[None]:
    """One command a tenant; (tenant, user), the newest last."""
    grouped: dict[str, list[str]] = {}
    for tenant, user in users:
        grouped.setdefault(tenant, []).append(user)
    commands = [
        NOTE_RECENT.on(recent_key(tenant), RECENT_USERS, *names)
        for tenant, names in grouped.items()
    ]
    return Request(commands, _nothing)


def count(tenant: str, added: Mapping[str, int], wanted: Sequence[str]) -> Request[list[int]]:
    """Additions, then the numbers as they are; a repeat adds once more."""
    key = counts_key(tenant)
    commands: list[Command] = [("HINCRBY", key, name, n) for name, n in added.items()]
    if added:
        commands.append(("EXPIRE", key, COUNTS_SECONDS))
    if wanted:
        commands.append(("HMGET", key, *wanted))
    return Request(commands, lambda answers: [int(n or 0) for n in answers[-1]] if wanted else [])


def recent(tenant: str) -> Request[list[str]]:
    """User ids, newest first."""
    commands: list[Command] = [("LRANGE", recent_key(tenant), 0, RECENT_USERS - 1)]
    return Request(commands, lambda answers: [user.decode() for user in answers[0]])


def write_profile(
    tenant: str, user: str, personalise: bool, interests: Sequence[str]
) -> Request[None]:
    """The flags, and no tombstone any more."""
    flags = ProfileFlags(personalise, False, tuple(interests))
    commands = [
        ("SET", profile_key(tenant, user), encode_profile(flags)),
        LIFT_TOMBSTONE.on(list_key(tenant, user), TOMBSTONE_EPOCH),
    ]
    return Request(commands, _nothing)


def read_profile(tenant: str, user: str) -> Request[ProfileFlags]:
    """The flags."""
    return Request([("GET", profile_key(tenant, user))], lambda answers: decode_profile(answers[0]))


def stored_profile(tenant: str, user: str) -> Request[bytes]:
    """The flags as they are stored; empty for none."""
    return Request([("GET", profile_key(tenant, user))], lambda answers: answers[0] or b"")


def exchange_profile(tenant: str, user: str, before: bytes, flags: ProfileFlags) -> Request[bool]:
    """Store the flags where `before` is still stored; whether it was."""
    command = EXCHANGE.on(profile_key(tenant, user), before, encode_profile(flags))
    return Request([command], lambda answers: bool(answers[0]))


def lift_tombstone(tenant: str, user: str) -> Request[None]:
    """He is back: lists of his may be stored."""
    return Request([LIFT_TOMBSTONE.on(list_key(tenant, user), TOMBSTONE_EPOCH)], _nothing)


def read_with_profile(tenant: str, user: str) -> Request[tuple[ProfileFlags, StoredList | None]]:
    """What a reader needs of a user, in one round trip."""
    commands: list[Command] = [
        ("GET", profile_key(tenant, user)),
        ("GET", list_key(tenant, user)),
    ]
    return Request(commands, lambda answers: (decode_profile(answers[0]), decode_list(answers[1])))


def delete_user(tenant: str, user: str) -> Request[None]:
    """A tombstone in the list's place; profile and recent entry go."""
    expiry_ms = int(TOMBSTONE_SECONDS * 1000)
    commands: list[Command] = [
        ("SET", list_key(tenant, user), encode_list(tombstone()), "PX", expiry_ms),
        ("DEL", profile_key(tenant, user)),
        ("LREM", recent_key(tenant), 0, user),
    ]
    return Request(commands, _nothing)
