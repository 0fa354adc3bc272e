"""A board as Grafana's dashboard JSON (schema of Grafana 11), and the folder `json/` of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dashboards.grafana_boards import BOARDS, MARKS, TENANTS, TOPICS, Board, Mark
from dashboards.panels import Metric, Panel, Promql, Sql, Unit, Words

FOLDER = Path(__file__).parent / "json"
SCHEMA_VERSION = 41
PROMETHEUS = {"type": "prometheus", "uid": "springtide-prometheus"}
CLICKHOUSE = {"type": "grafana-clickhouse-datasource", "uid": "springtide-clickhouse"}
UNITS: dict[Unit, str] = {
    "per_second": "cps", "milliseconds": "ms", "seconds": "s", "share": "percentunit",
    "count": "short",
}  # fmt: skip
WIDE, PER_ROW, HEIGHT = 24, 3, 8

# Our queries' parameters in the words of Grafana's ClickHouse plugin.
MACROS = {
    "%(tenant)s": "${tenant:sqlstring}",
    "%(since)s": "$__fromTime",
    "%(until)s": "$__toTime",
    "%(step)s": "$__interval_s",
    "%(smooth)s": "greatest(60, 10 * $__interval_s)",
}


def dashboard(board: Board) -> dict[str, Any]:
    """The dashboard's JSON model."""
    topics = any(isinstance(each.source, Sql) and each.source.by_topic for each in board.panels)
    variables = [_variable("tenant", Words("Tenant", "租户"), TENANTS, several=False)]
    if topics:
        variables.append(_variable("topic", Words("Topic", "主题"), TOPICS, several=True))
    return {
        "uid": board.uid,
        "title": f"Springtide: {both(board.title)}",
        "tags": ["springtide"],
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "schemaVersion": SCHEMA_VERSION,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "links": [],
        "templating": {"list": variables},
        "annotations": {"list": [_mark(each) for each in MARKS]},
        "panels": _placed(board.panels),
    }


def both(words: Words) -> str:
    """One text for readers of both languages."""
    return words.en if words.en == words.zh else f"{words.en} · {words.zh}"


def _placed(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    """Three a row; a table has a row of its own."""
    placed: list[dict[str, Any]] = []
    x = y = 0
    for number, panel in enumerate(panels, 1):
        width = WIDE if panel.kind == "table" else WIDE // PER_ROW
        if x + width > WIDE:
            x, y = 0, y + HEIGHT
        where = {"x": x, "y": y, "w": width, "h": HEIGHT}
        placed.append({"id": number, "gridPos": where, **_panel(panel)})
        x += width
    return placed


def _panel(panel: Panel) -> dict[str, Any]:
    table = panel.kind == "table"
    cells = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
    defaults: dict[str, Any] = {"unit": UNITS[panel.unit], "custom": cells}
    if not table:
        filled = 30 if panel.stacked else 10
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": filled,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        }
        if isinstance(panel.source, Sql) and " AS series" in panel.source.query:
            defaults["displayName"] = "${__field.labels.series}"
    options: dict[str, Any] = {"frameIndex": 0, "showHeader": True, "cellHeight": "sm"}
    if not table:
        options = {
            "legend": {
                "showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": [],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }  # fmt: skip
    return {
        "type": "table" if table else "timeseries",
        "title": both(panel.title),
        "description": both(panel.help),
        "datasource": CLICKHOUSE if isinstance(panel.source, Sql) else PROMETHEUS,
        "interval": "2s" if isinstance(panel.source, Sql) else "15s",
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": targets(panel),
    }


def targets(panel: Panel) -> list[dict[str, Any]]:
    """The panel's queries."""
    if isinstance(panel.source, Sql):
        return [{"refId": "A", **clickhouse(grafana_sql(panel), panel.kind == "table")}]
    if isinstance(panel.source, Metric):
        by, name = panel.source.label, panel.source.name
        lines = [(f"sum by ({by}) ({name})", "{{" + by + "}}")]
    else:
        lines = [(each.promql, each.legend) for each in panel.source.expressions]
    return [
        {
            "refId": chr(ord("A") + number),
            "datasource": PROMETHEUS,
            "expr": promql,
            "legendFormat": legend,
            "range": True,
        }
        for number, (promql, legend) in enumerate(lines)
    ]


def clickhouse(sql: str, table: bool) -> dict[str, Any]:
    """A query of the ClickHouse plugin, version 4."""
    return {
        "datasource": CLICKHOUSE,
        "editorType": "sql",
        "queryType": "table" if table else "timeseries",
        "format": 1 if table else 0,
        "rawSql": sql,
    }


def grafana_sql(panel: Panel) -> str:
    """The panel's SQL with Grafana's macros; lines get a time column and both languages' names.

    Raises:
        TypeError: the panel has no SQL.
    """
    if not isinstance(panel.source, Sql):
        raise TypeError(f"{panel.id} has no SQL")
    inner = with_macros(panel.source.query)
    if panel.kind == "table":
        return inner
    names = {each.key: both(each.title) for each in panel.series}
    if " AS series" not in inner:
        columns = ", ".join(f"{key} AS `{name}`" for key, name in names.items())
        chosen = columns or "* EXCEPT t"
        return f"SELECT toDateTime(t) AS time, {chosen} FROM (\n{inner}\n) ORDER BY time"
    only = " WHERE series IN (${topic:sqlstring})" if panel.source.by_topic else ""
    series = f"transform(series, {list(names)}, {list(names.values())}, series)"
    return (
        f"SELECT toDateTime(t) AS time, {series if names else 'series'} AS series, value FROM (\n"
        f"{inner}\n){only} ORDER BY time"
    )


def with_macros(query: str) -> str:
    """Our parameters replaced by the plugin's macros."""
    for ours, grafanas in MACROS.items():
        query = query.replace(ours, grafanas)
    return query


def _variable(name: str, label: Words, query: str, several: bool) -> dict[str, Any]:
    return {
        "type": "query",
        "name": name,
        "label": both(label),
        "datasource": CLICKHOUSE,
        "query": query,
        "refresh": 1,
        "sort": 0,
        "hide": 0,
        "multi": several,
        "includeAll": several,
    }


def _mark(mark: Mark) -> dict[str, Any]:
    query = clickhouse(with_macros(mark.query), table=True)
    # The first four are what Grafana's own schema asks of every target.
    target = {"limit": 100, "matchAny": False, "tags": [], "type": "dashboard", "refId": "Anno"}
    return {
        "name": both(mark.name),
        "datasource": CLICKHOUSE,
        "enable": True,
        "hide": False,
        "iconColor": mark.colour,
        "target": {**target, **query},
    }


def files() -> dict[str, str]:
    """File name → text of every dashboard, as `json/` has them."""
    return {f"{board.uid}.json": text(dashboard(board)) for board in BOARDS}


def text(document: Any) -> str:
    """JSON for people and for diffs."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def promql(board: Board) -> list[str]:
    """Every expression of Prometheus on a board."""
    asked = (each for each in board.panels if isinstance(each.source, Promql | Metric))
    return [target["expr"] for panel in asked for target in targets(panel)]
