"""What to fetch next, found with one look at each partition.

aiokafka goes over all partitions twice a fetch, with a log line for each: a tenth of a millisecond
of CPU every time, some hundred times a second.
"""

from __future__ import annotations

from random import shuffle
from typing import Any

from aiokafka.protocol.fetch import FetchRequest

from streams.fetch_wire import QuickFetch, quick


def install(fetcher: Any) -> None:
    """Make aiokafka's fetcher plan like this."""
    usual = fetcher._get_actions_per_node

    def planned(assignment: Any) -> Any:
        found = _planned(fetcher, assignment)
        return quick(usual(assignment)) if found is None else found

    fetcher._get_actions_per_node = planned


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
