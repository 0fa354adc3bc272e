"""Grafana's files: current, of Grafana's own schema, and every query answered by a real engine."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from prometheus_client import CollectorRegistry

from dashboards import grafana_files
from dashboards.grafana_boards import BOARDS, MARKS, TENANTS, TOPICS
from dashboards.grafana_json import dashboard, grafana_sql, promql, with_macros
from dashboards.grafana_rules import RULES
from dashboards.panels import PANELS, Sql
from infra import warehouse
from infra.metrics import ApiMetrics, WorkerMetrics
from infra.warehouse import Warehouse
from models.metrics import ClassifierMetrics

TENANT = "o'shown"  # a quote, which Grafana's :sqlstring doubles
# Types of npm @grafana/schema 11.6, made a JSON schema by npm ts-json-schema-generator.
SCHEMAS = json.loads(Path(__file__).with_name("grafana-11.schema.json").read_text("utf-8"))
EXPRESSIONS = [(board.uid, each) for board in BOARDS for each in promql(board)]
QUERIES = [
    *((f"{b.uid}/{p.id}", grafana_sql(p)) for b in BOARDS for p in b.panels
      if isinstance(p.source, Sql)),
    *((mark.name.en, with_macros(mark.query)) for mark in MARKS),
    *((rule.uid, rule.query) for rule in RULES),
    ("tenant", TENANTS),
    ("topic", TOPICS),
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(grafana_files.files()))
def test_a_generated_file_is_current(name: str) -> None:
    path = grafana_files.FOLDER / name
    said = "run `springtide dashboards export --out dashboards` and commit"
    assert path.read_text("utf-8") == grafana_files.files()[name], said


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_a_dashboard_is_of_grafanas_schema(board: Any) -> None:
    document = dashboard(board)
    jsonschema.validate(document, SCHEMAS["dashboard"])
    for panel in document["panels"]:
        kind = panel["type"]
        jsonschema.validate(panel["options"], SCHEMAS[f"{kind}.Options"])
        custom = panel["fieldConfig"]["defaults"]["custom"]
        jsonschema.validate(custom, SCHEMAS[f"{kind}.FieldConfig"])
    places = [tuple(panel["gridPos"].values()) for panel in document["panels"]]
    assert len({panel["id"] for panel in document["panels"]}) == len(places) == len(set(places))


def test_the_schema_refuses_what_is_none() -> None:
    document = dashboard(BOARDS[0])
    document["panels"][0]["gridPositon"] = {}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMAS["dashboard"])


@pytest.fixture(scope="module")
def filled(stack: Any) -> Iterator[Warehouse]:
    """Five minutes of a platform, ten seconds ago."""
    url = stack.clickhouse_url.rpartition("/")[0] + f"/grafana_{secrets.token_hex(4)}"
    warehouse.migrate(url)
    client = Warehouse(url)
    start = datetime.now(UTC) - timedelta(seconds=310)
    times = [start + timedelta(seconds=0.5 * i) for i in range(600)]
    common = {"tenant": [TENANT] * 600, "received_at": times, "offset": list(range(600))}
    client.insert("interactions", {
        **common, "type": ["click"] * 600, "rank": [1, 50] * 300, "popularity_rank": [20, 5] * 300,
    }, "")  # fmt: skip
    client.insert("scored_comments", {
        **common, "topics": [["music"], ["data's"]] * 300, "label": ["negative", "positive"] * 300,
        "model_version": ["a"] * 300 + ["b"] * 300,
    }, "")  # fmt: skip
    client.insert("list_writes", {
        "tenant": [TENANT] * 600, "policy": ["blend"] * 600, "received_at": times,
        "written_at": [at + timedelta(milliseconds=5) for at in times],
    }, "")  # fmt: skip
    client.insert("served", {**common, "items": [["i1"], ["i2"]] * 300}, "")
    client.insert("alerts", {
        **common, "fingerprint": ["f"] * 600, "key": ["item:i1"] * 600, "severity": ["major"] * 600,
        "state": ["firing"] * 599 + ["resolved"], "started_at": times, "evidence": [5.0] * 600,
        "negatives": [8] * 600, "comments": [9] * 600,
    }, "")  # fmt: skip
    yield client
    client.close()


def expanded(sql: str) -> str:
    """What Grafana and its ClickHouse plugin put for variables and macros (an hour, by 2 s)."""
    now = int(datetime.now(UTC).timestamp())
    quoted = TENANT.replace("'", "''")
    for name, value in (
        ("${tenant:sqlstring}", f"'{quoted}'"),
        ("${topic:sqlstring}", "'music','data''s'"),
        ("$__fromTime", f"toDateTime({now - 3600})"),
        ("$__toTime", f"toDateTime({now + 5})"),
        ("$__interval_s", "2"),
    ):
        sql = sql.replace(name, value)
    assert "$" not in sql and "%(" not in sql
    return sql


@pytest.mark.parametrize(("name", "sql"), QUERIES, ids=[name for name, _ in QUERIES])
def test_every_query_answers_on_the_real_engine(filled: Warehouse, name: str, sql: str) -> None:
    rows = filled.query(expanded(sql))
    assert rows or name == "springtide-nobody-looks", "no row: the fixture should give one"
    for row in rows:
        if "time" in row:
            assert isinstance(row["time"], datetime)
    if name == "Model swaps":
        assert [row["text"] for row in rows] == ["model b in place of a"]


def test_the_page_and_grafana_say_the_same(filled: Warehouse) -> None:
    sql = dict(QUERIES)
    rows = filled.query(expanded(sql["springtide-health/events"]))
    assert {row["series"] for row in rows} == {"clicks · 点击"}
    assert sum(row["value"] for row in rows) * 2 == 600  # steps of two seconds
    rows = filled.query(expanded(sql["springtide-quality/hit-rate"]))
    assert rows[-1]["Springtide"] == pytest.approx(0.5, abs=0.05)
    rows = filled.query(expanded(sql["springtide-sentiment/sentiment"]))
    assert {row["series"] for row in rows} == {"music", "data's"}


def test_every_page_panel_is_on_a_board() -> None:
    on_boards = {panel.id for board in BOARDS for panel in board.panels}
    missing = {panel.id for panel in PANELS} - on_boards - {"queues"}  # Prometheus has it better
    assert not missing, f"put {missing} on a board of dashboards/grafana_boards.py"


def metric_names() -> set[str]:
    """Every metric of the worker, the API and the classifier, as Prometheus names it."""
    registry = CollectorRegistry()
    for metrics in (WorkerMetrics, ApiMetrics, ClassifierMetrics):
        metrics(registry)
    families = registry.collect()
    return {f.name + ("_total" if f.type == "counter" else "") for f in families}


def test_every_metric_has_a_panel_and_every_panel_a_metric() -> None:
    used = {
        re.sub(r"_(bucket|count|sum)$", "", name)
        for _, expression in EXPRESSIONS
        for name in re.findall(r"springtide_\w+", expression)
    }
    known = metric_names()
    assert not known - used, (
        f"no panel shows {sorted(known - used)}: add a line (rates, quantiles or levels) to "
        "dashboards/grafana_panels.py, then `springtide dashboards export --out dashboards`"
    )
    assert not used - known, f"panels show what nothing exports: {sorted(used - known)}"


def test_promtool_understands_every_expression(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        reason = "no promtool: apt-get install prometheus"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    rules = [
        {"record": f"panel:number_{n}", "expr": each.replace("$__rate_interval", "1m")}
        for n, (_, each) in enumerate(EXPRESSIONS)
    ]
    path = tmp_path / "rules.json"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")
    ended = subprocess.run(
        [promtool, "check", "rules", path], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert f"{len(rules)} rules found" in ended.stdout
