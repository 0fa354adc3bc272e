"""The sum balances: whatever comes in and whoever is killed, every event counts exactly once."""

from __future__ import annotations

import json
import random
import signal
import time
from typing import Any

import msgpack
import pytest
import redis
from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError

from infra.warehouse import Warehouse
from streams import topics

pytestmark = pytest.mark.kafka

Event = Any  # the fixture `make_event`


def mixed(make_event: Event, start: int, count: int, seed: int) -> list[Any]:
    """Clicks, purchases and comments of a few hundred users; some repeat an earlier id."""
    chance = random.Random(seed)
    records = []
    for number in range(start, start + count):
        user, item = f"u{chance.randrange(300)}", f"i{chance.randrange(500)}"
        kind = chance.choices(["click", "purchase", "comment"], [80, 15, 5])[0]
        records.append(make_event(kind, number, user, item))
        if chance.random() < 0.02:
            records.append(records[-1])
    return records


def assert_each_once(deployment: Any, learned: int) -> None:
    """One row an event that was used, and never two."""
    rows = deployment.archived("interactions")
    assert max(rows.values()) == 1
    assert sum(rows.values()) == learned
    comments = deployment.archived("scored_comments")
    assert not comments or max(comments.values()) == 1


def assert_opting_out_takes_less_than_a_second(deployment: Any, user: str) -> None:
    """Said on users.v1, it holds for every reader of Redis."""
    client = redis.Redis.from_url(deployment.stack.redis_url)
    key = f"topk:default:{user}"
    assert msgpack.unpackb(client.get(key))[5] == "blend"
    profile = json.dumps({"user_id": user, "personalise": False}).encode()
    deployment.send([(topics.USERS, f"default/{user}".encode(), profile)])
    until = time.monotonic() + 1.0
    while msgpack.unpackb(client.get(key))[5] != "popular":
        assert time.monotonic() < until
        time.sleep(0.01)
    assert json.loads(client.get(f"profile:default:{user}"))["personalise"] is False
    client.close()


def test_every_event_is_learned_archived_and_listed_once(
    deployment: Any, make_event: Event
) -> None:
    deployment.send([(topics.USERS, b"default/shy", b'{"user_id": "shy", "personalise": false}')])
    worker = deployment.worker()
    time.sleep(1.0)  # the opt-out is a message of its own, and must be there first
    records = mixed(make_event, 0, 2_000, seed=1)
    records += [make_event("click", 50_000 + i, "shy", f"i{i}") for i in range(10)]
    deployment.send(records)
    kept = deployment.wait_until_kept()
    assert kept["duplicates"] > 10 and kept["ignored"] == 10
    time.sleep(1.5)  # the metric looks every second
    lags = worker.lags()
    assert {(topics.CLICKS, str(partition)) for partition in range(4)} <= lags.keys()
    assert sum(lags.values()) == 0
    assert_opting_out_takes_less_than_a_second(deployment, "u2")
    assert worker.end() == 0
    assert deployment.balance(deployment.checkpoint()) == 0
    assert_each_once(deployment, kept["events_learned"] + kept["ignored"])


def test_a_reader_that_is_not_ours_reads_a_list(deployment: Any) -> None:
    client = redis.Redis.from_url(deployment.stack.redis_url)
    form, version, watermark, items, scores, policy, *_ = msgpack.unpackb(
        client.get("topk:default:u1")
    )
    assert form == 1 and len(version) == 2 and watermark > 1_700_000_000_000
    assert 10 <= len(items) == len(scores) == len(set(items)) and policy == "blend"
    assert scores == sorted(scores, reverse=True)
    popular = msgpack.unpackb(client.get("popular:default"))
    assert popular[5] == "popular"
    shy = client.get("topk:default:shy")  # the popular list, whatever he clicked
    assert shy is None or msgpack.unpackb(shy)[5] == "popular"


def test_kill_nine_at_any_moment_loses_and_doubles_nothing(
    deployment: Any, make_event: Event
) -> None:
    chance = random.Random(7)
    worker = deployment.worker()
    for life in range(4):
        deployment.send(mixed(make_event, 10_000 + life * 2_000, 2_000, seed=life))
        time.sleep(chance.uniform(0.0, 1.5))
        worker.end(signal.SIGKILL)
        worker = deployment.worker()
    kept = deployment.wait_until_kept()
    assert worker.end() == 0
    assert deployment.balance(kept) == 0
    assert_each_once(deployment, kept["events_learned"] + kept["ignored"])


def test_a_second_worker_takes_its_share_and_gives_it_back(
    deployment: Any, make_event: Event
) -> None:
    first = deployment.worker()
    deployment.send(mixed(make_event, 30_000, 1_500, seed=11))
    second = deployment.worker()
    deployment.send(mixed(make_event, 32_000, 1_500, seed=12))
    deployment.wait_until_kept()
    first.end(signal.SIGKILL)
    deployment.send(mixed(make_event, 34_000, 1_500, seed=13))
    kept = deployment.wait_until_kept()
    assert second.end() == 0
    assert_each_once(deployment, kept["events_learned"] + kept["ignored"])
    log = (deployment.folder / "worker.log").read_text("utf-8", "replace")
    assert "OffsetCommit failed" not in log  # it would cost who committed his membership


def mutate(chance: random.Random, number: int, make_event: Event) -> Any:
    """An event with something wrong, strange, or merely unusual about it."""
    kind = chance.choice(["click", "purchase", "comment"])
    topic, key, value = make_event(kind, number, f"u{number % 50}", f"i{number % 70}")
    fields = json.loads(value)
    change = chance.randrange(12)
    if change == 0:
        return topic, key, value[: chance.randrange(len(value))]
    if change == 1:
        cut = chance.randrange(len(value))
        return topic, key, value[:cut] + chance.randbytes(3) + value[cut:]
    if change == 2:
        fields[chance.choice(list(fields))] = chance.choice([None, 7, [], {}, True, -1e308])
    elif change == 3:
        del fields[chance.choice(list(fields))]
    elif change == 4:
        fields["type"] = chance.choice(["refund", "", "click", "purchase"])
    elif change == 5:
        return topic, key, value.replace(b'"e', b'NaN, "', 1)
    elif change == 6:
        fields["occurred_at"] = chance.choice(
            ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "now"]
        )
    elif change == 7:
        fields["text"] = chance.choice(["", "x" * 100_000, "\ud83d", "😀" * 50, "</s><mask>", "\0"])
    elif change == 8:
        fields["id"] = f"e{chance.randrange(number + 1)}"
    elif change == 9:
        fields["occurred_at"] = f"2025-10-0{chance.randrange(1, 9)}T00:00:00+00:00"
    elif change == 10:
        fields["item_id"] = chance.choice(["\udfff", "课" * 50, " ", "a" * 128, "topk:{x}"])
    return topic, chance.choice([key, key, b"", None]), json.dumps(fields).encode()


def test_ten_thousand_mutated_events_disturb_nothing(deployment: Any, make_event: Event) -> None:
    chance = random.Random(99)
    before = len(deployment.dead_letters())
    worker = deployment.worker()
    deployment.send(
        [mutate(chance, 100_000 + number, make_event) for number in range(10_000)]
        + [(topics.CLICKS, b"default/big", b"x" * 1_050_000)]
    )
    with KafkaProducer(
        bootstrap_servers=deployment.servers, max_request_size=20_000_000
    ) as producer:
        huge = producer.send(topics.CLICKS, key=b"default/huge", value=b"x" * 10_000_000)
        with pytest.raises(MessageSizeTooLargeError):  # the broker's own word, to its producer
            huge.get(30)
    good = [make_event("click", 200_000 + i, "neighbour", f"i{i}") for i in range(20)]
    deployment.send(good)
    deployment.wait_until_kept(240)
    dead = deployment.dead_letters()
    assert len(dead) - before > 3_000
    assert all(letter["reason"] for letter in dead)
    assert worker.end() == 0
    warehouse = Warehouse(deployment.stack.clickhouse_url)
    rows = warehouse.query("SELECT count() AS n FROM interactions WHERE id LIKE 'e2000%'")
    warehouse.close()
    assert rows[0]["n"] == len(good)
