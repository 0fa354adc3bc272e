"""The warehouse on the real engine: migrations, types, rollups, errors in one line."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.settings import UserError
from infra.warehouse import TABLES, TransientError, Warehouse, WarehouseError, migrate
from infra.warehouse_migrations import statements

NOON = datetime(2026, 3, 1, 12, 0, 30, 123_000, tzinfo=UTC)


@pytest.fixture
def warehouse(url: str) -> Iterator[Warehouse]:
    made = Warehouse(url)
    yield made
    made.close()


def interactions(
    ranks: list[int], popularity_ranks: list[int], minute: int = 0, partition: int = 0
) -> dict[str, Any]:
    count = len(ranks)
    return {
        "tenant": ["default"] * count,
        "id": [f"e{i}" for i in range(count)],
        "type": ["click"] * count,
        "user_key": ["k"] * count,
        "item_id": ["课程'; DROP TABLE x --"] * count,
        "occurred_at": [NOON] * count,
        "received_at": [NOON + timedelta(minutes=minute)] * count,
        "rank": ranks,
        "popularity_rank": popularity_ranks,
        "topic": ["clicks.v1"] * count,
        "partition": [partition] * count,
        "offset": list(range(minute * 100, minute * 100 + count)),
    }


def test_migrating_twice_does_nothing_the_second_time(url: str, warehouse: Warehouse) -> None:
    assert migrate(url) == []
    names = [
        row["name"] for row in warehouse.query("SELECT name FROM schema_migrations ORDER BY name")
    ]
    assert names == sorted(names) and names[0] == "0001_tables"
    warehouse.check()


def test_two_that_migrate_at_once_do_no_harm(stack: Any) -> None:
    name = f"test_{uuid.uuid4().hex[:12]}"
    fresh = stack.clickhouse_url.rpartition("/")[0] + "/" + name
    threads = [threading.Thread(target=migrate, args=(fresh,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    warehouse = Warehouse(fresh)
    warehouse.check()
    warehouse.query(f"DROP DATABASE {name}")
    warehouse.close()


def test_a_migration_that_changed_after_it_was_applied_is_refused(url: str, tmp_path: Path) -> None:
    path = tmp_path / "0009_more.sql"
    path.write_text("CREATE TABLE IF NOT EXISTS more (a UInt8) ENGINE = MergeTree ORDER BY a;\n")
    assert migrate(url, tmp_path) == ["0009_more"]
    path.write_text(path.read_text() + "-- changed\n")
    with pytest.raises(UserError, match=r"0009_more\.sql.*new numbered file"):
        migrate(url, tmp_path)


def test_the_columns_written_are_the_tables_columns(warehouse: Warehouse) -> None:
    for table in TABLES.values():
        described = {row["name"] for row in warehouse.query(f"DESCRIBE TABLE {table.name}")}
        assert set(table.columns) == described


def test_values_come_back_as_they_went_in(warehouse: Warehouse) -> None:
    row = {
        "tenant": ["default"],
        "user_key": ["k"],
        "list_version": ["3-4"],
        "items": [["a", "课", "it's"]],
        "positions": [[0, 1, 2]],
        "seed": [-5],
        "served_at": [NOON],
        "received_at": [int(NOON.timestamp() * 1000) + 1],
        "topic": ["served.v1"],
        "partition": [2],
        "offset": [7],
    }
    assert warehouse.insert("served", row, "t") == 1
    found = warehouse.query("SELECT * FROM served")[0]
    assert found["items"] == ["a", "课", "it's"] and found["positions"] == [0, 1, 2]
    assert found["served_at"] == NOON and found["received_at"] == NOON + timedelta(milliseconds=1)
    assert (found["topic"], found["partition"], found["offset"]) == ("served.v1", 2, 7)
    assert found["seed"] == -5 and found["policy"] == ""


def test_values_out_of_range_are_bounded_not_wrapped(warehouse: Warehouse) -> None:
    row = interactions([2**40, -1], [0, 0])
    row["occurred_at"] = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)]
    row["id"] = ["lone \ud800", "nul \0"]
    warehouse.insert("interactions", row, "")
    found = warehouse.query("SELECT rank, occurred_at, id FROM interactions ORDER BY offset")
    assert [each["rank"] for each in found] == [2**32 - 1, 0]
    assert [each["occurred_at"].year for each in found] == [1900, 2299]
    assert [each["id"] for each in found] == ["lone ?", "nul \0"]


def test_parameters_are_escaped_and_times_keep_their_milliseconds(warehouse: Warehouse) -> None:
    warehouse.insert("interactions", interactions([1], [1]), "")
    sql = "SELECT count() AS n FROM interactions WHERE item_id = %(item)s AND occurred_at {} %(at)s"
    item = "课程'; DROP TABLE x --"
    assert warehouse.query(sql.format("="), {"item": item, "at": NOON}) == [{"n": 1}]
    earlier = NOON - timedelta(milliseconds=1)
    assert warehouse.query(sql.format("<="), {"item": item, "at": earlier}) == [{"n": 0}]
    with pytest.raises(ValueError, match="time zone"):
        warehouse.query(sql.format("="), {"item": item, "at": NOON.replace(tzinfo=None)})


def test_learner_metrics_are_the_prequential_means_by_minute(warehouse: Warehouse) -> None:
    miss = 2**31 - 1
    warehouse.insert("interactions", interactions([1, 3, 11, miss, 0], [10, 11, 1, 0, 0]), "a")
    warehouse.insert("interactions", interactions([1], [miss], minute=1), "b")
    warehouse.insert("interactions", interactions([0], [0], minute=2, partition=1), "c")
    first, second, third = warehouse.query("SELECT * FROM learner_metrics ORDER BY minute")
    assert first["minute"] == datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    assert (first["events"], first["evaluated"]) == (5, 4)
    assert first["hr10"] == 0.5 and first["popularity_hr10"] == 0.5
    assert first["ndcg10"] == pytest.approx((1 + 1 / 2) / 4)
    assert (second["hr10"], second["ndcg10"], second["popularity_hr10"]) == (1, 1, 0)
    assert (third["events"], third["evaluated"], third["hr10"]) == (1, 0, 0)


def test_sentiment_is_summed_for_every_key_of_the_monitor(warehouse: Warehouse) -> None:
    labels = ["negative", "negative", "positive", "neutral"]
    warehouse.insert(
        "scored_comments",
        {
            "tenant": ["default"] * 4,
            "item_id": ["a", "b", "a", "a"],
            "topics": [["python", "data", "data"], ["python"], [], []],
            "received_at": [NOON] * 4,
            "label": labels,
            "offset": [0, 1, 2, 3],
        },
        "a",
    )
    rows = warehouse.query("SELECT key, comments, negatives FROM sentiment_by_minute ORDER BY key")
    assert [tuple(row.values()) for row in rows] == [
        ("item:a", 3, 1),
        ("item:b", 1, 1),
        ("tenant", 4, 2),
        ("topic:data", 1, 1),
        ("topic:python", 2, 2),
    ]


def test_a_block_with_a_known_token_counts_once_in_tables_and_rollups(warehouse: Warehouse) -> None:
    block = interactions([1, 2], [1, 2])
    for token in ("same", "same", "other"):
        warehouse.insert("interactions", block, token)
    assert warehouse.query("SELECT count() AS n FROM interactions") == [{"n": 4}]
    assert warehouse.query("SELECT sum(events) AS n FROM learner_metrics") == [{"n": 4}]


def test_offsets_are_read_per_partition(warehouse: Warehouse) -> None:
    assert warehouse.max_offset("interactions", "clicks.v1", 0) == -1
    warehouse.insert("interactions", interactions([1] * 5, [1] * 5, 1), "")
    warehouse.insert("interactions", interactions([1], [1], 9, partition=1), "")
    assert warehouse.max_offset("interactions", "clicks.v1", 0) == 104
    assert warehouse.offsets("interactions", "clicks.v1", 0, 3) == [104, 103, 102]
    assert warehouse.max_offset("interactions", "purchases.v1", 0) == -1


def test_threads_do_not_share_a_client(warehouse: Warehouse) -> None:
    wrong: list[Any] = []

    def ask(n: int) -> None:
        for i in range(20):
            answer = warehouse.query("SELECT %(a)s AS a, sleep(0.002)", {"a": n * 100 + i})
            if answer[0]["a"] != n * 100 + i:
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_a_refused_statement_is_one_line_and_the_connection_goes_on(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseError, match="springtide warehouse migrate") as caught:
        warehouse.query("SELECT * FROM no_such_table")
    assert "\n" not in str(caught.value)
    with pytest.raises(WarehouseError):
        warehouse.query("SELEC 1")
    with pytest.raises(ValueError, match="no such table"):
        warehouse.insert("nothing", {"a": [1]}, "")
    with pytest.raises(ValueError, match="unknown columns"):
        warehouse.insert("served", {"wrong": [1]}, "")
    assert warehouse.query("SELECT 1 AS one") == [{"one": 1}]


def test_a_clickhouse_that_is_away_is_transient_and_one_line_for_a_user() -> None:
    away = "clickhouse://me:secret@127.0.0.1:1/default"
    warehouse = Warehouse(away)
    with pytest.raises(TransientError) as transient:
        warehouse.query("SELECT 1")
    with pytest.raises(UserError, match=r"does not answer.*springtide local") as caught:
        migrate(away)
    for line in (str(transient.value), str(caught.value)):
        assert "secret" not in line and "\n" not in line


@pytest.mark.parametrize("bad", ["http://h:1/x", "clickhouse://:1", "nonsense"])
def test_an_unusable_url_is_one_line(bad: str) -> None:
    with pytest.raises(UserError):
        Warehouse(bad)


def test_tables_that_are_missing_are_named(stack: Any) -> None:
    base = Warehouse(stack.clickhouse_url)
    name = f"test_{uuid.uuid4().hex[:12]}"
    base.query(f"CREATE DATABASE {name}")
    empty = base.in_database(name)
    with pytest.raises(UserError, match=r"alerts.*springtide warehouse migrate"):
        empty.check()
    base.query(f"DROP DATABASE {name}")
    empty.close()
    base.close()


def test_a_file_is_split_into_its_statements() -> None:
    sql = "-- a; comment;\nCREATE x (\n  a Int8, -- b;\n  c Int8\n);\n\nDROP y;\n"
    assert statements(sql) == ["CREATE x (\n  a Int8,\n  c Int8\n)", "DROP y"]


def test_words_of_comments_are_kept_for_90_days(warehouse: Warehouse) -> None:
    now = datetime.now(UTC)
    received = [now - timedelta(days=91), now - timedelta(days=89)]
    shared = {"tenant": ["t"] * 2, "received_at": received, "offset": [1, 2]}
    examples = ['[{"id": "c", "text": "words"}]'] * 2
    warehouse.insert("alerts", {**shared, "examples": examples}, "")
    warehouse.insert("scored_comments", {**shared, "text": ["words"] * 2}, "")
    for table, column in (("alerts", "examples"), ("scored_comments", "text")):
        warehouse.query(f"OPTIMIZE TABLE {table} FINAL")
        rows = warehouse.query(f"SELECT {column} AS said FROM {table} ORDER BY offset")
        assert [bool(row["said"]) for row in rows] == [False, True], table
