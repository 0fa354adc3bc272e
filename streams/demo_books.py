"""The demo's books: what went in against what came of it, counted from outside.

Nothing here trusts the worker's own counters: what was learned is summed by a fresh process from
the final checkpoint, dead letters are read back from their topic, lists and comments are counted in
ClickHouse.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from infra.warehouse import Warehouse
from streams import dead_letter, topics, whole_topic
from streams.demo_parts import SPRINGTIDE, Parts
from streams.events import Alert
from streams.freshness import FreshnessSummary
from streams.sender import Offsets, Sender

Acknowledged = Mapping[tuple[str, int], Offsets]

COMMENTS = "SELECT uniqExact(topic, `partition`, offset) AS n FROM scored_comments"
LISTS = "SELECT count() AS n FROM list_writes"
# Prequential: each event was ranked before it was learned.
HR10 = """
    SELECT countIf(rank BETWEEN 1 AND 10) / countIf(rank > 0) AS springtide,
           countIf(popularity_rank BETWEEN 1 AND 10) / countIf(rank > 0) AS popularity
    FROM interactions"""


class Accounts(Struct, frozen=True):
    """Where every event went; `balanced` if none is missing and none was counted twice."""

    events_in: int
    learned: int
    duplicates: int
    ignored: int
    dead_lettered: int

    @property
    def balanced(self) -> bool:
        """Whether what went in equals what came of it."""
        return self.events_in == self.accounted

    @property
    def accounted(self) -> int:
        """Events of which something came."""
        return self.learned + self.duplicates + self.ignored + self.dead_lettered


def close_books(parts: Parts, sender: Sender, freshness: FreshnessSummary) -> dict[str, Any]:
    """The summary of a run whose worker was stopped, in the order of design.md."""
    accounts = count(parts, sender)
    warehouse = Warehouse(parts.stack.clickhouse_url)
    try:
        lists, comments = (warehouse.query(sql)[0]["n"] for sql in (LISTS, COMMENTS))
        hit_rates = warehouse.query(HR10)[0]
    finally:
        warehouse.close()
    return {
        **msgspec.structs.asdict(accounts),
        "lists_written": lists,
        "comments_scored": comments,
        "alerts": asyncio.run(read_alerts(parts.stack.kafka_url)),
        "freshness_ms": {"p50": _finite(freshness.p50_ms), "p99": _finite(freshness.p99_ms)},
        "hr10": {name: _finite(value) for name, value in hit_rates.items()},
        "balanced": accounts.balanced,
    }


def count(parts: Parts, sender: Sender) -> Accounts:
    """Hold the final checkpoint and the dead letters against what was acknowledged."""
    kept = final_checkpoint(parts)
    count_in_others(sender, kept["offsets"])
    return Accounts(
        sender.events_in,
        kept["events_learned"],
        kept["duplicates"],
        kept["ignored"],
        asyncio.run(count_dead_letters(parts.stack.kafka_url, sender.acknowledged)),
    )


def count_in_others(sender: Sender, read: Mapping[str, int]) -> None:
    """Events of others (`POST /v1/events`) are input too, as far as the worker has read them.

    What we sent ourselves counts whether it was read or not.
    """
    for place, offset in read.items():
        topic, _, partition = place.rpartition("/")
        if topic in topics.INTERACTION_TOPICS:
            kept = sender.acknowledged.setdefault((topic, int(partition)), Offsets())
            kept.add_up_to(offset)


def final_checkpoint(parts: Parts) -> dict[str, Any]:
    """What a fresh process reads."""
    answer = subprocess.run(
        (*SPRINGTIDE, "checkpoints", "show", "--json"),
        env={**os.environ, "SPRINGTIDE_CHECKPOINT_URL": parts.checkpoints},
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


async def count_dead_letters(kafka_url: str, acknowledged: Acknowledged) -> int:
    """Dead letters of our own input, each source once, as the topic holds them."""
    dead = 0
    async for letter in dead_letter.read_all(kafka_url):
        dead += letter.offset in acknowledged.get((letter.topic, letter.partition), ())
    return dead


async def read_alerts(kafka_url: str) -> list[dict[str, Any]]:
    """Every alert that was raised, as alerts.v1 holds it, in the order of raising."""
    found: dict[str, Alert] = {}
    async for record in whole_topic.read(kafka_url, topics.ALERTS, "springtide-demo"):
        alert = msgspec.json.decode(record.value, type=Alert)
        if alert.state == "firing":
            found.setdefault(alert.fingerprint, alert)
    return [
        {
            "key": alert.key,
            "title": alert.title,
            "started_at": _iso(alert.started_at),
            "raised_at": _iso(alert.raised_at),
            "evidence": round(alert.evidence, 3),
            "share": round(alert.share, 4),
            "baseline": round(alert.baseline, 4),
        }
        for alert in sorted(found.values(), key=lambda alert: alert.raised_at)
    ]


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _finite(value: float) -> float | None:
    """Four digits; None for what has no value (nothing was measured)."""
    return round(value, 4) if abs(value) < float("inf") else None
