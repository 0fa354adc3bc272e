"""The read API on real parts: lists, events, profiles, alerts, and what happens when parts go."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from infra.local.ports import free_port
from infra.local.supervisor import Supervisor
from infra.local.valkey import valkey_part
from infra.security import kafka_servers
from infra.serving import ListWrite, StoredList
from streams import topics
from streams.events import Item, encode, item_key

RunningApi = Any  # of conftest.py
SPRINGTIDE = str(Path(sys.executable).with_name("springtide"))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def stored(seq: int, *items: str, policy: str = "blend") -> StoredList:
    scores = [round(-0.5 * place, 2) for place in range(len(items))]
    return StoredList(1, (3, seq), 1_772_366_400_000, list(items), scores, policy, 7)


def write(api: RunningApi, user: str, seq: int, *items: str) -> None:
    assert api.store.write_many([ListWrite(api.tenant, user, stored(seq, *items))], 600) == [True]


def until(holds: Callable[[], Any], seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to hold")


def records(api: RunningApi, topic: str, user: str) -> list[Any]:
    """What Kafka holds under a user's key, oldest first."""
    consumer = KafkaConsumer(bootstrap_servers=kafka_servers(api.stack.kafka_url))
    parts = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    ends = consumer.end_offsets(parts)
    found = []
    while any(consumer.position(part) < ends[part] for part in parts):
        for part in consumer.poll(timeout_ms=500).values():
            found += [r for r in part if r.key == f"{api.tenant}/{user}".encode()]
    consumer.close()
    return [json.loads(record.value) for record in found]


def put_items(api: RunningApi, *items: Item) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka_servers(api.stack.kafka_url))
    for item in items:
        producer.send(topics.ITEMS, key=item_key(item.tenant, item.item_id), value=encode(item))
    producer.flush(20)
    producer.close()


def shown(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def test_list_is_given_with_version_watermark_and_reason(running_api: RunningApi) -> None:
    write(running_api, "ann", 5, "a", "b", "c")
    answer = running_api.client.get("/v1/users/ann/recommendations", params={"n": 2}).json()
    assert answer == {
        "user_id": "ann",
        "items": [
            {"item_id": "a", "score": 0.0, "reason": "recent-activity"},
            {"item_id": "b", "score": -0.5, "reason": "recent-activity"},
        ],
        "list_version": "3-5",
        "watermark": "2026-03-01T12:00:00Z",
        "policy": "blend",
    }


def test_what_was_shown_is_recorded_on_served(running_api: RunningApi) -> None:
    write(running_api, "served/me", 6, "a", "b", "c")
    asked = {"n": 2, "surface": "home", "exclude": "a"}
    running_api.client.get("/v1/users/served%2Fme/recommendations", params=asked)
    (record,) = until(lambda: records(running_api, topics.SERVED, "served/me"))
    assert record["items"] == ["b", "c"]
    assert record["positions"] == [0, 1]
    assert (record["list_version"], record["policy"], record["surface"], record["seed"]) == (
        "3-6", "blend", "home", 7,
    )  # fmt: skip


def test_excluded_items_leave_their_places_to_others(running_api: RunningApi) -> None:
    write(running_api, "ben", 1, "a", "b,c", "d", "e")
    get = running_api.client.get
    assert shown(get("/v1/users/ben/recommendations?exclude=a,d")) == ["b,c", "e"]
    assert shown(get("/v1/users/ben/recommendations?exclude=b,c&exclude=e&n=1")) == ["a"]


def test_topic_and_availability_come_from_the_catalogue(running_api: RunningApi) -> None:
    tenant = running_api.tenant
    put_items(
        running_api,
        Item(item_id="go", title="Go", tenant=tenant, topics=("programming",)),
        Item(item_id="oboe", title="Oboe", tenant=tenant, topics=("music",)),
        Item(item_id="gone", title="Gone", tenant=tenant, topics=("music",), available=False),
    )
    write(running_api, "cleo", 1, "gone", "go", "oboe", "unknown")
    get = running_api.client.get
    until(lambda: shown(get("/v1/users/cleo/recommendations?topic=music")) == ["oboe"])
    assert shown(get("/v1/users/cleo/recommendations")) == ["go", "oboe", "unknown"]
    assert shown(get("/v1/users/cleo/recommendations?topic=none")) == []


def test_new_user_gets_the_popular_list(running_api: RunningApi) -> None:
    assert running_api.store.write_popular(
        running_api.tenant, stored(int(time.time()), "hit-1", "hit-2", policy="popular")
    )
    answer = running_api.client.get("/v1/users/nobody/recommendations")
    assert shown(answer) == ["hit-1", "hit-2"]
    assert answer.json()["policy"] == answer.json()["items"][0]["reason"] == "popular"


def test_opting_out_holds_at_once_and_interests_stay(running_api: RunningApi) -> None:
    tenant, client = running_api.tenant, running_api.client
    running_api.store.write_popular(tenant, stored(int(time.time()) + 1, "hit", policy="popular"))
    put_items(running_api, Item(item_id="sql", title="SQL", tenant=tenant, topics=("data",)))
    write(running_api, "dora", 1, "sql")
    assert client.put("/v1/users/dora", json={"interests": ["data"]}).status_code == 200
    path = "/v1/users/dora/recommendations"
    until(lambda: client.get(path).json()["items"][0]["reason"] == "interest:data")
    answer = client.put("/v1/users/dora", json={"personalise": False})
    assert answer.json() == {"user_id": "dora", "interests": ["data"], "personalise": False}
    assert shown(client.get(path)) == ["hit"]
    last = until(lambda: records(running_api, topics.USERS, "dora"))[-1]
    assert (last["personalise"], last["interests"]) == (False, ["data"])


def test_deleting_a_user_removes_the_list_at_once(running_api: RunningApi) -> None:
    write(running_api, "eve", 1, "secret")
    assert running_api.client.delete("/v1/users/eve").status_code == 202
    assert "secret" not in shown(running_api.client.get("/v1/users/eve/recommendations"))
    late = ListWrite(running_api.tenant, "eve", stored(9, "secret"))
    assert running_api.store.write_many([late], 600) == [False]
    assert until(lambda: records(running_api, topics.USERS, "eve"))[-1]["deleted"] is True


def click(**changes: Any) -> dict[str, Any]:
    fields = {"type": "click", "id": "c1", "occurred_at": NOW.isoformat(), "user_id": "fay"}
    return {**fields, "item_id": "a", **changes}


def test_events_are_judged_one_by_one(running_api: RunningApi) -> None:
    batch = [
        click(id="good"),
        click(id="foreign", tenant="another"),
        click(id="future", occurred_at="2999-01-01T00:00:00Z"),
        click(id="long", item_id="x" * 129),
        {"type": "view", "id": "unknown"},
        {"type": "click", "id": "poor"},
        "text",
        click(id="mine", tenant=running_api.tenant),
    ]
    answer = running_api.client.post("/v1/events", json={"events": batch})
    assert answer.status_code == 202
    outcomes = answer.json()["outcomes"]
    accepted = [outcome.get("id") for outcome in outcomes if outcome["accepted"]]
    assert accepted == ["good", "mine"]
    assert all("\n" not in o["error"] for o in outcomes if not o["accepted"])
    found = records(running_api, topics.CLICKS, "fay")
    assert [record["id"] for record in found] == ["good", "mine"]
    assert {record["tenant"] for record in found} == {running_api.tenant}


def test_batch_without_a_usable_event_is_422(running_api: RunningApi) -> None:
    answer = running_api.client.post("/v1/events", json={"events": [{"type": "view"}]})
    assert answer.status_code == 422
    assert answer.json()["rejected"] == 1


def test_served_lists_of_a_platform_are_taken(running_api: RunningApi) -> None:
    entry = {"user_id": "gus", "list_version": "1-2", "items": ["a"], "served_at": NOW.isoformat()}
    answer = running_api.client.post("/v1/served", json={"served": [entry, {"user_id": "x"}]})
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (1, 1)
    assert records(running_api, topics.SERVED, "gus")[0]["items"] == ["a"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 422),
        (b'{"events": []}', "application/json", 422),
        (b'{"events": {}}', "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b'{"events": [1]}', "text/plain", 415),
        (b'{"events": ["' + b"x" * 5_000_001 + b'"]}', "application/json", 413),
    ],
)
def test_unusable_bodies_are_one_line(
    running_api: RunningApi, body: bytes, kind: str, status: int
) -> None:
    answer = running_api.client.post("/v1/events", content=body, headers={"content-type": kind})
    assert answer.status_code == status
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/users/a/recommendations?n=0",
        "/v1/users/a/recommendations?n=101",
        "/v1/users/a/recommendations?n=many",
        f"/v1/users/a/recommendations?topic={'t' * 65}",
        f"/v1/users/{'u' * 129}/recommendations",
        "/v1/items/a/similar?n=-1",
        "/v1/items/a/sentiment?minutes=0",
        "/v1/alerts?state=loud",
        "/v1/alerts?limit=201",
    ],
)
def test_parameters_out_of_bounds_are_400(running_api: RunningApi, path: str) -> None:
    answer = running_api.client.get(path)
    assert answer.status_code == 400
    assert "\n" not in answer.json()["error"]


def test_unknown_paths_and_methods_say_where_to_look(running_api: RunningApi) -> None:
    assert running_api.client.get("/v1/nothing").json() == {"error": "Not Found: see /openapi.json"}
    assert running_api.client.put("/v1/events").status_code == 405


def test_similar_items_are_merged_from_the_workers_that_answer(running_api: RunningApi) -> None:
    found = running_api.client.get("/v1/items/course a/similar", params={"n": 3}).json()["items"]
    assert found[0]["item_id"] == "course/b"
    assert len(found) == 3
    slashed = running_api.client.get("/v1/items/course%2Fb/similar").json()["items"]
    assert "course a" in {item["item_id"] for item in slashed}
    assert running_api.client.get("/v1/items/unknown/similar").json()["items"] == []
    assert running_api.client.get("/v1/items/%2E%2E/similar").json()["items"] == []  # an id, too
    odd = {"authorization": "Bearer é".encode("latin-1")}  # without tokens nobody looks at it
    assert running_api.client.get("/v1/items/unknown/similar", headers=odd).status_code == 200


def test_health_metrics_and_document_are_served(running_api: RunningApi) -> None:
    get = running_api.client.get
    assert get("/livez").text == get("/readyz").text == "ok"
    assert "springtide_api_request_seconds_bucket" in get("/metrics").text
    assert get("/openapi.json").json()["openapi"] == "3.1.0"


def test_parts_that_go_away_are_503_and_the_rest_goes_on(
    running_api: RunningApi, api_environment: dict[str, str], tmp_path: Path
) -> None:
    """An API of its own, whose Valkey dies and whose ClickHouse never was."""
    with Supervisor(tmp_path) as supervisor:
        port = free_port()
        spec, ready = valkey_part(tmp_path, port)
        supervisor.start(spec, ready)
        environment = {
            **api_environment,
            "SPRINGTIDE_REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "SPRINGTIDE_CLICKHOUSE_URL": "clickhouse://127.0.0.1:9/default",
        }
        process = subprocess.Popen(
            [SPRINGTIDE, "api", "--port", "0"], stdout=subprocess.PIPE, env=environment
        )
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        client = httpx.Client(base_url=url, timeout=20)
        try:
            assert client.get("/v1/users/a/recommendations").status_code == 200
            for path in ("/v1/alerts", "/v1/items/a/sentiment", "/ops/alerts", "/ops/data/events"):
                away = client.get(path)
                assert (away.status_code, away.headers["retry-after"]) == (503, "1")
            supervisor.stop()
            away = client.get("/v1/users/a/recommendations")
            assert away.status_code == 503
            assert away.headers["retry-after"] == "1"
            assert away.json() == {"error": "Redis does not answer: try again"}
            until(lambda: client.get("/readyz").status_code == 503)
            batch = {"events": [click(id="still")]}
            assert client.post("/v1/events", json=batch).status_code == 202
            assert client.get("/v1/items/course a/similar").status_code == 200
        finally:
            client.close()
            process.terminate()
            assert process.wait(15) == 0
