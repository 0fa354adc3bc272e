"""What to fetch next, found with one look at each partition, and when.

aiokafka goes over all partitions twice a fetch, with a log line for each: a tenth of a millisecond
of CPU every time. And a fetch costs worker and broker half a millisecond each, whatever it brings,
while a thousand events a second come one by one: fetches are spaced, so that what is appended
meanwhile comes with the next one. Where events are rare, or a backlog is worked off, more time
passes between two fetches anyway, and nobody waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.protocol.fetch import FetchRequest

from streams.fetch_wire import QuickFetch, quick

PACE_SECONDS = 0.003

Fetch = Callable[[Any, Any, Any], Awaitable[bool]]


def install(fetcher: Any, pace_seconds: float = PACE_SECONDS) -> None:
    """Make aiokafka's fetcher plan and space its fetches like this."""
    usual = fetcher._get_actions_per_node

    def planned(assignment: Any) -> Any:
        found = _planned(fetcher, assignment)
        return quick(usual(assignment)) if found is None else found

    fetcher._get_actions_per_node = planned
    fetcher._proc_fetch_request = spaced(fetcher._proc_fetch_request, pace_seconds)


def _planned(fetcher: Any, assignment: Any) -> Any:
    """As aiokafka's, for when there is nothing but to fetch or to wait; None: ask aiokafka.

    A node is left alone while it has a fetch, or while something that it sent was not taken.
    """
    if fetcher._preferred_read_replica:
        return None
    leader, taken = fetcher._client.cluster.leader_for_partition, fetcher._records
    busy, most = set(fetcher._in_flight), fetcher._max_partition_fetch_bytes
    waits: dict[Any, float] = {}
    for tp, fetched in taken.items():
        wait = fetched.calculate_backoff()
        if wait:
            node = leader(tp)
            busy.add(node)
            waits[node] = max(wait, waits.get(node, 0.0))
    asked: dict[Any, dict[str, list[tuple[int, int, int]]]] = {}
    for tp in assignment.tps:
        node = leader(tp)
        if node in busy or tp in taken:
            continue
        state = assignment.state_value(tp)
        if node in {None, -1} or state.paused or not state.has_valid_position:
            return None
        of_topic = asked.setdefault(node, {}).setdefault(tp.topic, [])
        of_topic.append((tp.partition, state.position, most))
    fetches = [(node, _request(fetcher, topics)) for node, topics in asked.items()]
    return fetches, {}, min(waits.values(), default=fetcher._fetcher_timeout), False, []


def _request(fetcher: Any, topics: dict[str, list[tuple[int, int, int]]]) -> FetchRequest:
    return QuickFetch(
        fetcher._fetch_max_wait_ms,
        fetcher._fetch_min_bytes,
        fetcher._fetch_max_bytes,
        fetcher._isolation_level,
        list(topics.items()),
        rack_id=fetcher._client_rack or "",
    )


def spaced(fetch: Fetch, seconds: float) -> Fetch:
    """aiokafka's `_proc_fetch_request`, not sooner than `seconds` after a node's last one."""
    sent: dict[Any, float] = {}

    async def later(assignment: Any, node: Any, request: Any) -> bool:
        wait = sent.get(node, 0.0) + seconds - time.monotonic()
        if wait > 0:
            try:
                await asyncio.sleep(wait)
            except asyncio.CancelledError:  # as the original: the result is of no interest
                return False
        sent[node] = time.monotonic()
        return await fetch(assignment, node, request)

    return later
