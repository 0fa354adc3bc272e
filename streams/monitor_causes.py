"""Why it spikes: the slice that holds it, the terms that tell it apart, comments that show it.

The slice is held against the same key's comments before the spike, the terms against the tenant's
before it: its praise, since a complaint of yesterday has the words of today's. An alert without
them is better than none: whatever ClickHouse does, it is told some seconds later at most.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor

from msgspec import Struct

from infra.telemetry import get_logger
from infra.warehouse import TransientError, WarehouseError
from online.spikes import Alarm, most_telling
from online.spikes_slices import Attributes, slices
from online.spikes_terms import contrastive
from streams.events import AlertComment, AlertSlice
from streams.monitor_comments import Comments, CommentsAround, Row

log = get_logger("monitor")

EXAMPLES = 5
TERMS = 10
PATIENCE_SECONDS = 10.0  # with ClickHouse, which answers in .1 s
LEAST = 100  # of the key that terms are taken from: those just before, where the spike has fewer
ATTRIBUTES = ("topic", "surface", "model_version", "language")


class Causes(Struct, frozen=True):
    """What an alert says of its cause; the likeliest slice first."""

    examples: tuple[AlertComment, ...] = ()
    terms: tuple[str, ...] = ()
    slices: tuple[AlertSlice, ...] = ()


class CauseFinder:
    """Asks for the comments around alarms, one alarm at a time, in a thread of its own."""

    def __init__(self, asks: CommentsAround) -> None:
        self._asks = asks
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="causes")
        self._asked: Future[Comments] | None = None

    async def find(self, tenant: str, alarm: Alarm, title: str) -> Causes:
        """The cause of an alarm; nothing where ClickHouse refuses, is away, or does not answer.

        Args:
            title: of the item; its words are no cause.
        """
        try:
            around = await self._around(tenant, alarm)
        except (TransientError, WarehouseError, TimeoutError) as error:
            said = str(error)[:300] or type(error).__name__
            log.warning("alert.without_causes", key=alarm.key, error=said)
            return Causes()
        return await asyncio.to_thread(_found, alarm, title, around)

    async def _around(self, tenant: str, alarm: Alarm) -> Comments:
        if self._asked is not None and not self._asked.done():
            raise TimeoutError("ClickHouse owes the answer for the alarm before")
        self._asked = self._thread.submit(self._asks.find, tenant, alarm)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await asyncio.shield(asyncio.wrap_future(self._asked))


def _found(alarm: Alarm, title: str, around: Comments) -> Causes:
    spike, before, others = around
    chosen = most_telling([(r["id"], r["text"], r["negative"]) for r in spike], EXAMPLES)
    told = spike + before[: max(0, LEAST - len(spike))]
    terms = contrastive(
        [(r["text"], r["negative"]) for r in told],
        [(r["text"], 1.0 - r["negative"]) for r in others],
        TERMS,
        f"{title} {alarm.key.partition(':')[2]}",
    )
    held = slices(_attributes(spike), _attributes(before), alarm.baseline)
    return Causes(
        tuple(
            AlertComment(row["id"], row["text"], row["negative"], row["occurred_at"])
            for row in (spike[i] for i in chosen)
        ),
        tuple(each.term for each in terms),
        tuple(
            AlertSlice(each.attributes, each.held, each.share, each.usual, each.comments)
            for each in held
        ),
    )


def _attributes(rows: list[Row]) -> list[tuple[Attributes, float]]:
    made: list[tuple[Attributes, float]] = []
    for row in rows:
        values = {**row, "topic": row["topics"][0] if row["topics"] else ""}
        made.append(({name: str(values[name]) for name in ATTRIBUTES}, row["negative"]))
    return made
