"""What to fetch next, found with one look at each partition.

aiokafka goes over all partitions twice a fetch, with a log line for each: a tenth of a millisecond
of CPU every time, some hundred times a second.
"""

from __future__ import annotations

import time
from random import shuffle
from typing import Any

from aiokafka.protocol.fetch import FetchRequest

from streams.fetch_wire import QuickFetch, quick

MOST_WAIT_MS = 100


class Waits:
    """How long a node may hold a fetch that finds nothing.

    Tansu looks through all that it holds, and answers with what it has found when the time is
    over: one that is too short brings a batch at a time, however many there are. So it is twice
    what the last fetch took beyond it, and at least the setting. A Kafka answers as soon as
    something is there, whatever it is.
    """

    def __init__(self, least_ms: int) -> None:
        self._least = least_ms
        self._asked: dict[Any, tuple[float, int]] = {}

    def next_ms(self, node: Any, now: float) -> int:
        """For the fetch that is sent to the node now, monotonic seconds."""
        began, wait = self._asked.get(node, (now, 0))
        beyond = (now - began) * 1000 - wait
        wait = max(self._least, min(MOST_WAIT_MS, round(2 * beyond)))
        self._asked[node] = now, wait
        return wait


def install(fetcher: Any) -> None:
    """Make aiokafka's fetcher plan like this."""
    usual, waits = fetcher._get_actions_per_node, Waits(fetcher._fetch_max_wait_ms)

    def planned(assignment: Any) -> Any:
        found = _planned(fetcher, assignment, waits)
        return quick(usual(assignment)) if found is None else found

    fetcher._get_actions_per_node = planned


def _planned(fetcher: Any, assignment: Any, hold: Waits) -> Any:
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
    tps = list(assignment.tps)
    shuffle(tps)  # a batch that is larger than a fetch may be is served to the first alone
    for tp in tps:
        node = leader(tp)
        if node in busy or tp in taken:
            continue
        state = assignment.state_value(tp)
        if node in {None, -1} or state.paused or not state.has_valid_position:
            return None
        of_topic = asked.setdefault(node, {}).setdefault(tp.topic, [])
        of_topic.append((tp.partition, state.position, most))
    now = time.monotonic()
    fetches = [
        (node, _request(fetcher, topics, hold.next_ms(node, now))) for node, topics in asked.items()
    ]
    return fetches, {}, min(waits.values(), default=fetcher._fetcher_timeout), False, []


def _request(
    fetcher: Any, topics: dict[str, list[tuple[int, int, int]]], wait_ms: int
) -> FetchRequest:
    return QuickFetch(
        wait_ms,
        fetcher._fetch_min_bytes,
        fetcher._fetch_max_bytes,
        fetcher._isolation_level,
        list(topics.items()),
        rack_id=fetcher._client_rack or "",
    )
