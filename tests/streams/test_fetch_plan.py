"""What is fetched next is what aiokafka would fetch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.structs import TopicPartition

from streams import fetch_plan

KAFKA = {1: (4, 18)}
LEADERS = {TopicPartition("clicks.v1", n): n % 2 for n in range(4)}


class State(SimpleNamespace):
    """As much of a partition's state as a plan asks for."""

    resume_fut = None

    @property
    def has_valid_position(self) -> bool:
        return self.position is not None


def fetcher(**states: Any) -> tuple[Any, Any]:
    """A fetcher of aiokafka's that was never started, and an assignment of four partitions."""
    found: Any = Fetcher.__new__(Fetcher)
    cluster = SimpleNamespace(leader_for_partition=LEADERS.get)
    found.__dict__ |= {
        "_client": SimpleNamespace(cluster=cluster), "_client_rack": None, "_fetch_max_wait_ms": 10,
        "_fetch_min_bytes": 1, "_fetch_max_bytes": 10**6, "_isolation_level": 0,
        "_max_partition_fetch_bytes": 10**5, "_fetcher_timeout": 0.2, "_records": {},
        "_in_flight": set(), "_preferred_read_replica": {},
    }  # fmt: skip
    of = {tp: State(position=7 + tp.partition, paused=False) for tp in LEADERS}
    for name, values in states.items():
        of[TopicPartition("clicks.v1", int(name[1:]))].__dict__.update(values)
    return found, SimpleNamespace(tps=list(LEADERS), state_value=of.__getitem__)


def asked(actions: Any) -> list[Any]:
    """Nodes and what they are asked for, in one order."""
    found = []
    for node, request in actions[0]:
        (topic, partitions), *others = request.prepare(KAFKA).topics
        assert not others
        found.append((node, topic, sorted(partitions)))
    return sorted(found)


def waiting(seconds: float) -> Any:
    return SimpleNamespace(calculate_backoff=lambda: seconds)


@pytest.mark.parametrize(
    ("records", "in_flight"),
    [({}, set()), ({}, {1}), ({0: 0.05}, set()), ({0: 0.0, 1: 0.05, 3: 0.02}, set())],
)
def test_it_asks_for_what_aiokafka_asks_for(records: dict[int, float], in_flight: set[int]) -> None:
    found, assignment = fetcher()
    found._in_flight = in_flight
    found._records = {
        TopicPartition("clicks.v1", number): waiting(wait) for number, wait in records.items()
    }
    usual = found._get_actions_per_node(assignment)
    fetch_plan.install(found)
    ours = found._get_actions_per_node(assignment)
    assert asked(ours) == asked(usual)
    assert ours[1:] == (dict(usual[1]), *usual[2:])


@pytest.mark.parametrize("state", [{"position": None}, {"paused": True}])
def test_whatever_is_out_of_the_ordinary_is_aiokafkas(state: dict[str, Any]) -> None:
    found, assignment = fetcher(p2=state)
    fetch_plan.install(found)
    fetches, resets, _, _, resumed = found._get_actions_per_node(assignment)
    assert dict(resets) == ({0: [TopicPartition("clicks.v1", 2)]} if "position" in state else {})
    assert len(resumed) == ("paused" in state)
    assert [node for node, _ in fetches] == ([1] if "position" in state else [0, 1])


def test_each_partition_is_asked_for_first_at_times() -> None:
    """The broker fills an answer in order: a batch too large for a fetch only if it is first."""
    found, assignment = fetcher()
    fetch_plan.install(found)
    firsts = set()
    for _ in range(200):
        for _, request in found._get_actions_per_node(assignment)[0]:
            ((_, partitions),) = request.prepare(KAFKA).topics
            firsts.add(partitions[0][0])
    assert firsts == {0, 1, 2, 3}


def test_a_broker_that_takes_long_to_look_is_given_the_time() -> None:
    waits = fetch_plan.Waits(3)
    assert waits.next_ms(1, 10.0) == 3
    assert waits.next_ms(1, 10.004) == 3  # 1 ms beyond
    assert waits.next_ms(1, 10.027) == 40  # 20 ms beyond
    assert waits.next_ms(1, 10.072) == 10  # 5 ms beyond
    assert waits.next_ms(2, 10.072) == 3
    assert waits.next_ms(1, 12.0) == fetch_plan.MOST_WAIT_MS  # what it brought was long in hand
