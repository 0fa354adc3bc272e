"""Which parts of a worker are at work: all of them, unless a benchmark leaves some out."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Components(Struct, frozen=True):
    """What a worker does with interactions.

    Attributes:
        deduplicate: ids are looked up in the ledger; without, events are decoded, checked and
            acknowledged, and that is all.
        learner: "off": no further than the ledger; "statistics": popularity,
            co-occurrence and transitions, without ranking and factors; "all".
        lists: "off"; "coalesced": one for users touched again before their turn; "each": learn one
            event, write its list, then the next.
        archive: rows of interactions and lists into ClickHouse.
    """

    learner: Literal["off", "statistics", "all"] = "all"
    lists: Literal["off", "coalesced", "each"] = "coalesced"
    archive: bool = True
    deduplicate: bool = True


ALL = Components()
