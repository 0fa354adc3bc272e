"""TLS and names to Kafka, Redis and ClickHouse: who is let in, and what the others are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from kafka import KafkaConsumer, KafkaProducer

from infra.security import kafka_client
from infra.serving import AsyncRedisTopKStore, ListWrite, RedisTopKStore, StoredList
from infra.serving_lists import FORMAT
from infra.settings import UserError
from infra.warehouse import Warehouse
from streams import topics
from streams.outlet import Outgoing, Outlet

kafka = pytest.mark.kafka


@kafka
@pytest.mark.parametrize("listener", ["scram", "mutual"])
def test_kafka_takes_our_name_or_our_certificate(
    secure_kafka: dict[str, str], listener: str
) -> None:
    url = secure_kafka[listener]
    topics.apply(url)
    topics.require(url)
    value = f"through {listener}".encode()

    async def write() -> None:
        outlet = Outlet(url)
        await outlet.start()
        await outlet.write([Outgoing(topics.CLICKS, b"default/u", value)])
        await outlet.stop()

    asyncio.run(write())
    consumer = KafkaConsumer(
        topics.CLICKS, auto_offset_reset="earliest", consumer_timeout_ms=5000, **kafka_client(url)
    )
    found = {record.value for record in consumer}
    consumer.close()
    assert value in found


@kafka
def test_kafka_knows_the_shorter_scram_too(secure_kafka: dict[str, str]) -> None:
    topics.apply(secure_kafka["scram"])
    topics.require(secure_kafka["scram"] + "&mechanism=SCRAM-SHA-256")


@kafka
@pytest.mark.parametrize(
    "change",
    [
        lambda url, _: url.replace("kafkas://", "kafka://").partition("?")[0],  # no TLS
        lambda url, _: url.partition("?")[0],  # nobody vouches for the server
        lambda url, made: url.replace(str(made.ca), str(made.stranger)),
        lambda url, _: url.replace("river:", "river:not"),  # another password
        lambda url, _: "kafkas://" + url.rpartition("@")[2],  # no name
    ],
)
def test_kafka_refuses_and_the_line_holds_no_password(
    secure_kafka: dict[str, str], certificates: Any, password: str, change: Callable[..., str]
) -> None:
    url = change(secure_kafka["scram"], certificates)
    with pytest.raises(UserError, match=r"no Kafka answers at 127\.0\.0\.1:\d+ \(\w+\)") as refused:
        topics.require(url, timeout_seconds=3)
    assert says_nothing(refused.value, password)


def test_redis_takes_a_user_with_the_least_rights(secure_redis: str, password: str) -> None:
    store = RedisTopKStore.connect(secure_redis)
    made = StoredList(FORMAT, (1, 1), 0, ["a"], [1.0], "test", 0)
    assert store.write_many([ListWrite("t", "u", made)], 60) == [True]
    assert store.read("t", "u") == made
    assert store.write_popular("t", made) and store.popular("t") == made
    assert [store.next_epoch("clicks.v1", 0, above) for above in (0, 57)] == [1, 58]
    store.publish_alert("t", b"{}")
    store.note_recent([("t", "u")])
    assert store.recent("t") == ["u"]
    assert store.count("t", {"views:i": 2}, ["views:i", "clicks:i"]) == [2, 0]
    store.write_profile("t", "u", personalise=False)
    assert not store.read_profile("t", "u").personalise
    store.delete_user("t", "u")
    assert store.read("t", "u") is None and store.recent("t") == []
    store.close()

    async def read() -> Any:
        both = await AsyncRedisTopKStore.connect(secure_redis)
        try:
            return await both.popular("t")
        finally:
            await both.close()

    assert asyncio.run(read()) == made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url, _: url.replace("rediss://", "redis://").partition("?")[0], "does not answer"),
        (lambda url, _: url.partition("?")[0], "no TLS"),
        (lambda url, made: url.replace(str(made.ca), str(made.stranger)), "no TLS"),
        (lambda url, _: url.replace("river:", "river:not"), "refused us"),
        (lambda url, _: url.replace("river:", "default:"), "refused us"),
    ],
)
def test_redis_refuses_and_the_line_holds_no_password(
    secure_redis: str, certificates: Any, password: str, change: Callable[..., str], said: str
) -> None:
    with pytest.raises(UserError, match=said) as refused:
        RedisTopKStore.connect(change(secure_redis, certificates))
    assert says_nothing(refused.value, password)


def test_clickhouse_takes_a_user_over_tls(secure_clickhouse: str) -> None:
    warehouse = Warehouse(secure_clickhouse)
    assert warehouse.ask("SELECT 1 AS one") == [{"one": 1}]
    warehouse.query("CREATE TABLE IF NOT EXISTS t (n UInt64, s String) ENGINE = Memory")
    warehouse.query("INSERT INTO t SELECT number, '密' FROM system.numbers LIMIT 1000")
    assert warehouse.query("SELECT sum(n) AS n, any(s) AS s FROM t") == [{"n": 499500, "s": "密"}]
    warehouse.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda url, _: url.replace("clickhouses://", "clickhouse://").partition("?")[0],
            "does not answer",
        ),
        (lambda url, _: url.partition("?")[0], "certificate"),
        (lambda url, made: url.replace(str(made.ca), str(made.stranger)), "certificate"),
        (lambda url, _: url.replace("river:", "river:not"), "refused"),
        (lambda url, _: url.replace("river:", "default:"), "refused"),
    ],
)
def test_clickhouse_refuses_and_the_line_holds_no_password(
    secure_clickhouse: str, certificates: Any, password: str, change: Callable[..., str], said: str
) -> None:
    warehouse = Warehouse(change(secure_clickhouse, certificates))
    with pytest.raises(UserError, match=f"ClickHouse at clickhouse.*{said}") as refused:
        warehouse.ask("SELECT 1")
    assert says_nothing(refused.value, password)
    warehouse.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("kafkas://u@h:1", "mechanism=SCRAM"),
        ("kafka://u:p@h:1?mechanism=PLAIN", "mechanism=SCRAM"),  # it would be on the wire
        ("kafkas://h:1?ca=/none", "no such file"),
        ("kafkas://h:1?what=1", "no parameter 'what'"),
        ("kafka+ssl://h:1", "use kafka://"),
    ],
)
def test_a_url_that_cannot_work_says_why(url: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        kafka_client(url)
    assert "\n" not in str(refused.value)


def test_a_certificate_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    with pytest.raises(UserError, match="cannot be used"):
        kafka_client(f"kafkas://h:1?ca={tmp_path / 'ca.pem'}")


def says_nothing(error: Exception, password: str) -> bool:
    """One line, without the password in any spelling."""
    text = str(error)
    return "\n" not in text and password not in text and quote(password, safe="") not in text


def test_a_producer_of_another_library_takes_the_same_arguments() -> None:
    given = kafka_client("kafka://u:p%40@127.0.0.1:1")
    assert given["sasl_plain_password"] == "p@" and given["security_protocol"] == "SASL_PLAINTEXT"
    assert set(given) <= set(KafkaProducer.DEFAULT_CONFIG)
