"""What a worker keeps of one user partition besides the learner's arrays."""

from __future__ import annotations

import time
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from infra.settings import UserError
from streams.ledger import EventHashes, IdWindow

IDLE_SECONDS = 5.0
FORMAT = 3


class PartitionMeta(Struct, frozen=True):
    """The JSON part of a partition's checkpoint."""

    partition: int
    epoch: int
    offsets: dict[str, int]
    duplicates: int
    ignored: int
    event_times: dict[str, float]
    tenants: list[str]
    secret: bytes  # of the hashes of event ids
    written_at: float = 0.0
    deltas: int = 0  # item-deltas.v1: from this offset on it may hold what is not here
    buried: dict[str, int] = {}
    format: int = FORMAT


class PartitionState:
    """Offsets, id ledger, counts and watermark; changed only between two awaits.

    Attributes:
        epoch: the owner's generation, from Redis; part of every list version.
        offsets: topic → last offset whose effect is in this state.
        scored: offsets of comments.v1 whose scored comment was learned, a bounded window; a comment
            scored again after a crash comes back under a new offset and is known by this one.
        buried: key → offset of erasure requests on users.v1 that a null has yet to replace. They
            are in the checkpoint: its next owner reads from behind them, and `restored` from there.
        taken_at: when this owner took the partition, epoch seconds.
    """

    def __init__(self, partition: int, epoch: int) -> None:
        self.partition = partition
        self.epoch = epoch
        self.sequence = 0
        self.offsets: dict[str, int] = {}
        self.hashes = EventHashes()
        self.seen = IdWindow()
        self.duplicates = 0
        self.ignored = 0
        self.scored = IdWindow()
        self.buried: dict[str, int] = {}
        self.restored: frozenset[str] = frozenset()
        self.taken_at = time.time()
        self.erased_since = False  # the last checkpoint: its older files still name him
        self._event_times: dict[str, float] = {}
        self._heard: dict[str, float] = {}

    def is_new(self, topic: str, offset: int) -> bool:
        """Whether the record's effect is not in this state yet."""
        return offset > self.offsets.get(topic, -1)

    def seen_or(self, here: set[tuple[int, int]], hashed: int) -> bool:
        """Whether the id was met before, or in this round: `here`, to which it is added."""
        if hashed in self.seen or (self.partition, hashed) in here:
            return True
        here.add((self.partition, hashed))
        return False

    def seen_before(self, hashed: int) -> bool:
        """Whether the id was met before; from now on it was."""
        met = hashed in self.seen
        self.seen.add(hashed)
        return met

    def scored_before(self, source_offset: int) -> bool:
        """Whether this comment's score was learned before; from now on it was."""
        met = source_offset in self.scored
        self.scored.add(source_offset)
        return met

    def next_version(self) -> tuple[int, int]:
        """(epoch, seq): greater than every version this partition wrote before."""
        self.sequence += 1
        return self.epoch, self.sequence

    def heard(self, topic: str, newest_event_time: float) -> None:
        """Note the largest event time of a topic; late events never move it back."""
        self._heard[topic] = time.monotonic()
        known = self._event_times.get(topic, newest_event_time)
        self._event_times[topic] = max(known, newest_event_time)

    def watermark(self) -> float:
        """Event time, epoch seconds: the minimum over the topics that are not idle, at most now."""
        if not self._event_times:
            return 0.0
        awake = time.monotonic() - IDLE_SECONDS
        times = [
            at for topic, at in self._event_times.items() if self._heard.get(topic, 0.0) >= awake
        ]
        return min(min(times) if times else max(self._event_times.values()), time.time())

    def snapshot(self, tenants: list[str]) -> tuple[PartitionMeta, dict[str, Any]]:
        """The state as of now: JSON part and arrays."""
        meta = PartitionMeta(
            self.partition,
            self.epoch,
            dict(self.offsets),
            self.duplicates,
            self.ignored,
            dict(self._event_times),
            tenants,
            self.hashes.secret,
            time.time(),
            buried=dict(self.buried),
        )
        return meta, {"seen": self.seen.array(), "scored": self.scored.array()}

    def restore(self, meta: PartitionMeta, arrays: dict[str, Any]) -> None:
        """Take over a predecessor's state; epoch and sequence stay this owner's own."""
        self.offsets = dict(meta.offsets)
        self.duplicates = meta.duplicates
        self.ignored = meta.ignored
        self._event_times = dict(meta.event_times)
        self.buried = dict(meta.buried)
        self.restored = frozenset(meta.buried)
        self.hashes = EventHashes(meta.secret)
        self.seen.load(arrays["seen"])
        self.scored.load(arrays["scored"])


def partition_name(partition: int) -> str:
    """The checkpoint of a user partition."""
    return f"partition-{partition}"


def encode_meta(meta: Struct) -> str:
    """JSON for the checkpoint's header."""
    return msgspec.json.encode(meta).decode()


class _Format(Struct, frozen=True):
    format: int = 0


Meta = TypeVar("Meta", bound=Struct)


def decode_meta(header: str, kind: type[Meta], current: int) -> Meta:
    """The JSON part of a checkpoint.

    Raises:
        UserError: another version of the program wrote it.
    """
    found = msgspec.json.decode(header, type=_Format).format
    if found != current:
        raise UserError(
            f"the checkpoint has format {found}, this version reads format {current}: run the "
            "version that wrote it, or start from a new SPRINGTIDE_CHECKPOINT_URL"
        )
    return msgspec.json.decode(header, type=kind)
