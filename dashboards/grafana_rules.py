"""Alert rules that Grafana watches in ClickHouse: what neither Prometheus nor the monitor can see.

The monitor alerts on comments, Prometheus on processes (`infra/prometheus/`); these are about the
lists being any good, the archive being current, and alerts that nobody has taken up.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from dashboards.grafana_boards import FOLDER_UID
from dashboards.grafana_json import CLICKHOUSE, clickhouse
from dashboards.grafana_sources import CONTACT_POINT

EXPRESSION = "__expr__"
GROUP = "springtide"


class Rule(Struct, frozen=True):
    """One rule: `query` gives a row a tenant with `tenant` and `value`.

    Attributes:
        within_seconds: how far back the query looks.
    """

    uid: str
    title: str
    summary: str
    query: str
    compare: Literal["lt", "gt"]
    limit: float
    within_seconds: int
    lasting: str
    severity: str


RULES = (
    Rule(
        "springtide-worse-than-popular",
        "Lists are worse than popularity",
        "The lists hit less often than the list of popular items would: look at the learner.",
        """SELECT tenant,
  sum(hr10 * evaluated) / greatest(sum(popularity_hr10 * evaluated), 1) AS value
FROM learner_metrics WHERE minute >= $__fromTime AND minute < $__toTime
GROUP BY tenant HAVING sum(evaluated) >= 500""",
        "lt", 1.0, 3_600, "30m", "warning",
    ),
    Rule(
        "springtide-archive-behind",
        "Nothing reaches ClickHouse",
        "No event was archived for a quarter of an hour: workers, Kafka or ClickHouse stand still.",
        # Of all tenants together: one alone may be silent for a night.
        """SELECT 'all' AS tenant, dateDiff('second', max(received_at), now()) AS value
FROM interactions WHERE received_at >= $__fromTime AND received_at < $__toTime
HAVING count() > 0""",
        "gt", 900.0, 86_400, "5m", "warning",
    ),
    Rule(
        "springtide-nobody-looks",
        "An alert that nobody has taken up",
        "It fires for half an hour and is neither acknowledged nor snoozed: see the ops page.",
        """SELECT tenant, count() AS value FROM (
  SELECT tenant, fingerprint, argMax(state, (received_at, offset)) AS now, min(received_at) AS began
  FROM alerts WHERE received_at >= $__fromTime AND historic = 0 GROUP BY tenant, fingerprint)
WHERE now = 'firing' AND began < $__toTime - INTERVAL 30 MINUTE
  AND (tenant, fingerprint) NOT IN (SELECT tenant, fingerprint FROM alert_marks)
GROUP BY tenant""",
        "gt", 0.0, 8 * 86_400, "1m", "critical",  # an incident lasts a week at most
    ),
)  # fmt: skip


def alert_rule(rule: Rule, notify: bool) -> dict[str, Any]:
    """The rule in the form of Grafana's provisioning API.

    Args:
        notify: there is a contact point of ours; else Grafana's own policies decide.
    """
    body: dict[str, Any] = {
        "uid": rule.uid,
        "title": rule.title,
        "folderUID": FOLDER_UID,
        "ruleGroup": GROUP,
        "condition": "B",
        "data": [_question(rule), _threshold(rule)],
        "noDataState": "OK",
        "execErrState": "Error",
        "for": rule.lasting,
        "annotations": {"summary": rule.summary},
        "labels": {"severity": rule.severity, "origin": "springtide"},
        "isPaused": False,
    }
    if notify:
        body["notification_settings"] = {"receiver": CONTACT_POINT}
    return body


def _question(rule: Rule) -> dict[str, Any]:
    model = {**clickhouse(rule.query, table=True), **_defaults("A")}
    return {
        "refId": "A",
        "queryType": "table",
        "relativeTimeRange": {"from": rule.within_seconds, "to": 0},
        "datasourceUid": CLICKHOUSE["uid"],
        "model": model,
    }


def _threshold(rule: Rule) -> dict[str, Any]:
    evaluator = {"type": rule.compare, "params": [rule.limit]}
    model = {
        "type": "threshold",
        "expression": "A",
        "datasource": {"type": EXPRESSION, "uid": EXPRESSION},
        "conditions": [{"evaluator": evaluator}],
        **_defaults("B"),
    }
    return {
        "refId": "B",
        "queryType": "",
        "relativeTimeRange": {"from": 0, "to": 0},
        "datasourceUid": EXPRESSION,
        "model": model,
    }


def _defaults(ref: str) -> dict[str, Any]:
    """What Grafana would add by itself; said here, so that what it keeps is what we sent."""
    return {"refId": ref, "intervalMs": 1000, "maxDataPoints": 43200}
