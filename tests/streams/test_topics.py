"""The topic catalogue on a real broker."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from kafka.admin import ConfigResource

from infra.security import kafka_servers
from infra.settings import UserError
from streams import topics
from tests.streams.test_api import until


def test_applying_twice_makes_nothing_the_second_time(stack: Any) -> None:
    topics.apply(stack.kafka_url)
    assert topics.apply(stack.kafka_url) == []
    topics.require(stack.kafka_url)


def test_another_partition_count_is_a_migration_not_a_setting(stack: Any) -> None:
    topics.apply(stack.kafka_url)
    with pytest.raises(UserError, match=r"clicks\.v1 has 4 partitions, not 8: run with"):
        topics.apply(stack.kafka_url, partitions=8)


def test_more_copies_than_brokers_are_refused_in_one_line(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = msgspec.structs.replace(topics.CATALOGUE[0], name="copies.v1")
    monkeypatch.setattr(topics, "CATALOGUE", (new,))
    with pytest.raises(UserError, match="--replication 3 needs as many brokers"):
        topics.apply(stack.kafka_url, replication=3)


def test_user_keyed_topics_are_cut_alike() -> None:
    counts = {spec.partitions(8) for spec in topics.CATALOGUE if spec.keyed_by == "user"}
    assert counts == {8}
    assert all(spec.partitions(8) == 1 for spec in topics.CATALOGUE if spec.keyed_by != "user")


def test_expiry_counts_from_arrival() -> None:
    for spec in topics.CATALOGUE:
        assert spec.config()["message.timestamp.type"] == "LogAppendTime"


def test_a_withdrawal_outlives_the_catalogue_s_compaction() -> None:
    """Without its tombstone an item that users still have would be listed after a restart."""
    kept = {spec.name: spec.config().get("delete.retention.ms") for spec in topics.CATALOGUE}
    assert int(kept[topics.ITEMS] or 0) > 365 * topics.DAY_MS


def test_a_topic_that_was_made_earlier_keeps_withdrawals_too(stack: Any) -> None:
    topics.apply(stack.kafka_url)
    admin, wanted = topics._admin(stack.kafka_url, 10), topics.WITHDRAWAL_DAYS * topics.DAY_MS

    def alter(**changed: int) -> None:
        configs = {name.replace("_", "."): str(value) for name, value in changed.items()}
        admin.alter_configs([ConfigResource("topic", topics.ITEMS, configs)])

    def settings() -> tuple[int, int]:
        asked = ConfigResource("topic", topics.ITEMS)
        found = admin.describe_configs([asked], config_filter="all")["topic"][topics.ITEMS]
        return int(found["delete.retention.ms"]["value"]), int(found["segment.ms"]["value"])

    alter(delete_retention_ms=topics.DAY_MS, segment_ms=777_000)
    until(lambda: settings() == (topics.DAY_MS, 777_000))
    topics.apply(stack.kafka_url)
    until(lambda: settings() == (wanted, 777_000))  # the segments are not ours to change
    alter(segment_ms=7 * topics.DAY_MS)
    admin.close()


@pytest.mark.parametrize("url", ["localhost:9092", "kafka://", "kafka://host", "http://h:1"])
def test_an_unusable_url_says_the_right_form(url: str) -> None:
    with pytest.raises(UserError, match="use kafka://host:port"):
        kafka_servers(url)
