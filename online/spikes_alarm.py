"""What goes into the detectors and what comes out: observations and alarms."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple


class Observation(NamedTuple):
    """A scored comment.

    Attributes:
        item: the item's id.
        topics: of the item; its alarms are grouped under the first.
        negative: the probability that it is negative; 0 or 1 where that is known.
        author: `author_hash` of who has one vote: the author's cluster, else the author.
        occurred_at: epoch seconds.
        version: of the classifier.
        language: of the comment.
    """

    item: str
    topics: tuple[str, ...]
    negative: float
    author: int
    occurred_at: float
    version: str = ""
    language: str = ""


class Alarm(NamedTuple):
    """A spike of negative comments, as it is when it is raised, grows or ends.

    Attributes:
        channel: share, or volume where that has most of the evidence; drift of a model's key.
        state: firing or resolved; a second firing of one fingerprint says that it grew.
        fingerprint: of key and start: one incident.
        started_at, raised_at: epoch seconds of event time.
        evidence: log₁₀ of the e-value.
        negatives: since the start, the sum of their probabilities, rounded; comments: their number.
        share, baseline: of negative comments, now and usually.
        effect: share ÷ baseline.
        severity: minor, major or severe.
        parent: the key under which it is grouped; "" of a tenant or model.
        common: keys of the tenant and of models that rose as well.
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
    parent: str = ""
    common: tuple[str, ...] = ()


def author_hash(author: str) -> int:
    """64 bits that stand for an author; 0, which always votes, where the name is empty."""
    if not author:
        return 0
    return int.from_bytes(blake2b(author.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def fingerprint(key: str, started_at: float) -> str:
    """16 hex digits that name one incident."""
    return blake2b(f"{key}|{started_at:.3f}".encode(), digest_size=8).hexdigest()
