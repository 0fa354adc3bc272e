"""erasure: who was erased, and when; every worker knows, so that no replay brings anybody back.

A user is erased by a profile with `deleted` on users.v1. The owner of his partition notes it on
erasures.v1, by pseudonym, which is read whole by every worker before it learns anything. Whatever a
user left on a topic before that moment is skipped from then on, wherever it is read from; what he
does afterwards is a new user's. It outlives what raw topics keep, hence every replay of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from infra.pseudonym import Pseudonymiser
from infra.telemetry import get_logger
from streams import topics, whole_topic
from streams.events import Erasure, encode
from streams.interactions import Arrivals
from streams.outlet import Outgoing, Outlet

if TYPE_CHECKING:
    from streams.partition import PartitionState

log = get_logger("erasure")

# A list or a score that was on its way when its user was erased is appended a little later.
DERIVED_GRACE_MS = 10_000


class Erasures:
    """The ledger of a worker.

    Attributes:
        caught_up: set once erasures.v1 was read to where it ended at the start.
        on_erased: told of each, and when it was noted, Unix ms; in the order of the topic.
    """

    def __init__(self, kafka_url: str, pseudonyms: Pseudonymiser) -> None:
        self._url = kafka_url
        self._pseudonyms = pseudonyms
        self._at: dict[str, int] = {}  # pseudonym → append time of the request, Unix ms
        self._newest = -1
        self.caught_up = asyncio.Event()
        self.on_erased: Callable[[Erasure, int], None] | None = None

    async def run(self) -> None:
        """Follow erasures.v1 for as long as the worker lives."""
        async for fetched in whole_topic.follow(self._url, topics.ERASURES, "springtide-erasure"):
            for record in fetched.records:
                self._take(record)
            if fetched.caught_up and not self.caught_up.is_set():
                self.caught_up.set()
                log.info("erasures.caught_up", users=len(self._at))

    def _take(self, record: Any) -> None:
        try:
            erasure = msgspec.json.decode(record.value or b"", type=Erasure)
        except msgspec.DecodeError as error:
            log.warning("erasure.unreadable", offset=record.offset, error=str(error)[:200])
            return
        self.note(erasure.user_keys, round(erasure.erased_at.timestamp() * 1000))
        if self.on_erased is not None:
            self.on_erased(erasure, record.timestamp)

    def note(self, user_keys: tuple[str, ...], at_ms: int) -> None:
        """From now on what these pseudonyms left until then is skipped."""
        for key in user_keys:
            self._at[key] = max(at_ms, self._at.get(key, -1))
        self._newest = max(self._newest, at_ms)

    async def request(
        self, outlet: Outlet, tenant: str, user: str, partition: int, at_ms: int
    ) -> None:
        """Note an erasure here, then on erasures.v1; asked for twice it is noted once."""
        keys = self._pseudonyms.user_keys(tenant, user)
        if any(self._at.get(key, -1) >= at_ms for key in keys):
            return
        self.note(keys, at_ms)
        erasure = Erasure(
            tenant=tenant,
            user_keys=keys,
            partition=partition,
            erased_at=datetime.fromtimestamp(at_ms / 1000, UTC),
        )
        await outlet.write([Outgoing(topics.ERASURES, keys[0].encode(), encode(erasure))])

    def erased(
        self, tenant: str, user: str, received_ms: int, derived: bool = False, source_ms: int = 0
    ) -> bool:
        """Whether this is something that the user left before he was erased.

        Args:
            received_ms: its append time, Unix milliseconds.
            derived: written by us of something that came earlier: a score, a list shown.
            source_ms: when that came; 0: unknown. It may have waited for long.
        """
        at = _left_at(received_ms, source_ms) if derived else received_ms
        if at > self._newest:  # the usual case: it is newer than every erasure
            return False
        keys = self._pseudonyms.user_keys(tenant, user)
        return any(self._at.get(key, -1) >= at for key in keys)

    def without(self, arrivals: Arrivals, state: PartitionState, derived: bool) -> Arrivals:
        """Those of nobody erased; the others count as ignored, and leave no row."""
        left = arrivals.received_ms
        if derived:
            left = [
                _left_at(received, event.source_received_ms)
                for received, event in zip(left, arrivals.events, strict=True)
            ]
        if not left or min(left) > self._newest:
            return arrivals
        keep = [
            not self.erased(arrivals.tenant, user, at)
            for user, at in zip(arrivals.users, left, strict=True)
        ]
        state.ignored += keep.count(False)
        return arrivals.chosen(keep)


def _left_at(received_ms: int, source_ms: int) -> int:
    """When somebody did what a record of ours tells of; see `Erasures.erased`."""
    return min(received_ms - DERIVED_GRACE_MS, source_ms or received_ms)


async def read_ledger(kafka_url: str, pseudonyms: Pseudonymiser) -> Erasures:
    """What erasures.v1 holds now, for commands."""
    ledger = Erasures(kafka_url, pseudonyms)
    async for record in whole_topic.read(kafka_url, topics.ERASURES, "springtide-erasure"):
        ledger._take(record)
    return ledger
