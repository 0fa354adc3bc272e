"""Every panel's SQL answers on the real engine, and every metric it names exists."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from dashboards.live import WINDOWS, Span, lines, sampled, span
from dashboards.metric_history import read_metrics
from dashboards.panels import BY_ID, PANELS, Metric, Sql
from infra import warehouse
from infra.metrics import WorkerMetrics
from infra.warehouse import Warehouse

TENANT = "shown"


@pytest.fixture(scope="module")
def filled(stack: Any) -> Iterator[Warehouse]:
    """Ten seconds of a live platform, thirty seconds ago."""
    url = stack.clickhouse_url.rpartition("/")[0] + f"/panels_{secrets.token_hex(4)}"
    warehouse.migrate(url)
    client = Warehouse(url)
    start = datetime.now(UTC) - timedelta(seconds=30)
    times = [start + timedelta(milliseconds=100 * i) for i in range(100)]
    client.insert("interactions", {
        "tenant": [TENANT] * 100, "type": ["click", "purchase"] * 50, "received_at": times,
        "rank": [1, 50] * 50, "popularity_rank": [20, 30, 5, 90] * 25, "offset": list(range(100)),
    }, "")  # fmt: skip
    client.insert("scored_comments", {
        "tenant": [TENANT] * 100, "topics": [["music"], ["music", "data"]] * 50,
        "label": ["negative", "positive"] * 50, "received_at": times, "offset": list(range(100)),
    }, "")  # fmt: skip
    client.insert("list_writes", {
        "tenant": [TENANT] * 100, "policy": ["blend"] * 99 + ["popular"], "received_at": times,
        "written_at": [at + timedelta(milliseconds=5) for at in times],
    }, "")  # fmt: skip
    yield client
    client.close()


def drawn(client: Warehouse, panel_id: str, tenant: str = TENANT) -> dict[str, list[float]]:
    """The panel's lines without their gaps."""
    panel, shown = BY_ID[panel_id], span(300, time.time())
    assert isinstance(panel.source, Sql)
    rows = client.query(panel.source.query, shown.parameters(tenant))
    found = lines(rows, shown, panel, panel.source.absent)
    assert all(len(line.values) == len(shown.times) for line in found)
    return {line.key: [v for v in line.values if v is not None] for line in found}


def test_events_per_second_add_up(filled: Warehouse) -> None:
    found = drawn(filled, "events")
    assert sum(found["click"]) * 2 == sum(found["purchase"]) * 2 == 50  # steps of two seconds
    assert set(found["comment"]) == {0.0}


def test_freshness_is_from_append_to_redis(filled: Warehouse) -> None:
    found = drawn(filled, "freshness")
    assert set(found["p50"]) == set(found["p99"]) == {5.0}


def test_hit_rate_stands_beside_popularity(filled: Warehouse) -> None:
    found = drawn(filled, "hit-rate")
    assert found["springtide"][-1] == pytest.approx(0.5)
    assert found["popularity"][-1] == pytest.approx(0.25)


def test_sentiment_is_by_topic(filled: Warehouse) -> None:
    found = drawn(filled, "sentiment")
    assert found["music"][-1] == pytest.approx(0.5)
    assert found["data"][-1] == 0.0


def test_lists_are_by_what_made_them(filled: Warehouse) -> None:
    found = drawn(filled, "policies")
    assert sum(found["blend"]) * 2 == 99
    assert sum(found["popular"]) * 2 == 1


def test_a_tenant_sees_its_own_rows_only(filled: Warehouse) -> None:
    for panel in PANELS:
        if isinstance(panel.source, Sql):
            found = drawn(filled, panel.id, "another")
            assert all(not any(values) for values in found.values())


def test_every_metric_of_a_panel_is_one_of_the_workers() -> None:
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    metrics.queue.labels("lists").set(7)
    wanted = {p.source.name: p.source for p in PANELS if isinstance(p.source, Metric)}
    found = read_metrics(generate_latest(registry).decode(), wanted)
    assert found == {"springtide_queue_depth": {"lists": 7.0}}


def test_what_is_no_metric_reads_as_nothing() -> None:
    wanted = {"springtide_queue_depth": Metric("springtide_queue_depth", "queue")}
    assert read_metrics("<html>\nspringtide_queue_depth{queue= 7\n", wanted) == {}


def test_samples_fall_into_their_steps() -> None:
    shown = Span(100, 106, 2)
    samples = [(99.0, {"a": 9.0}), (100.5, {"a": 1.0}), (101.9, {"a": 3.0, "b": 2.0})]
    found = sampled(samples, shown, BY_ID["queues"])
    assert {line.key: line.values for line in found} == {
        "a": [3.0, None, None],
        "b": [2.0, None, None],
    }


def test_every_window_is_whole_steps() -> None:
    for window, step in WINDOWS.items():
        shown = span(window, 1_700_000_123.4)
        assert len(shown.times) == window // step
        assert shown.until <= 1_700_000_123.4


def test_every_text_is_in_both_languages() -> None:
    assert len(BY_ID) == len(PANELS)
    for panel in PANELS:
        for words in (panel.title, panel.help, *(series.title for series in panel.series)):
            assert words.en
            assert words.zh
