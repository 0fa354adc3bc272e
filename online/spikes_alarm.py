"""What goes into the detectors and what comes out: observations and alarms."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple


class Observation(NamedTuple):
    """A scored comment.

    Attributes:
        item: the item's id.
        topics: of the item.
        negative: the probability that it is negative; 0 or 1 where that is known.
        author: `author_hash` of who has one vote: the author's cluster, else the author.
        occurred_at: epoch seconds.
    """

    item: str
    topics: tuple[str, ...]
    negative: float
    author: int
    occurred_at: float


class Alarm(NamedTuple):
    """A spike of negative comments, as it is when it is raised, grows or ends.

    Attributes:
        state: firing or resolved; a second firing of one fingerprint says that it grew.
        fingerprint: of key, channel and start: one incident.
        started_at, raised_at: epoch seconds of event time.
        evidence: log₁₀ of the e-value.
        negatives: since the start, the sum of their probabilities, rounded; comments: their number.
        share, baseline: of negative comments, now and usually.
        effect: share ÷ baseline.
        severity: minor, major or severe.
    """

    key: str
    channel: str
    state: str
    fingerprint: str
    started_at: float
    raised_at: float
    evidence: float
    negatives: int
    comments: int
    share: float
    baseline: float
    effect: float
    severity: str


def author_hash(author: str) -> int:
    """64 bits that stand for an author; 0, which always votes, where the name is empty."""
    if not author:
        return 0
    return int.from_bytes(blake2b(author.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def fingerprint(key: str, channel: str, started_at: float) -> str:
    """16 hex digits that name one incident."""
    return blake2b(f"{key}|{channel}|{started_at:.3f}".encode(), digest_size=8).hexdigest()
