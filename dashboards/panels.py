"""The panels: what is worth looking at, in Chinese and English, and where its data comes from.

Everything that shows a panel reads it from here: the ops page `PANELS`, Grafana its boards
(`grafana_boards`), which show these and more.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from infra.metrics import EXPLORE_ITEMS, QUEUE_DEPTH

Unit = Literal["per_second", "milliseconds", "seconds", "share", "count"]
Kind = Literal["lines", "table"]


class Words(Struct, frozen=True):
    """One text in the page's two languages."""

    en: str
    zh: str


class Sql(Struct, frozen=True, tag="sql"):
    """Points from ClickHouse.

    Attributes:
        query: gives `t` (Unix seconds, the start of a step) and either one column a series, or
            `series` and `value`, and then perhaps `weight`, by which the heaviest series are kept.
            Its parameters: tenant, since, until (times), step and smooth (seconds).
        absent: the value of a step without a row; None: a gap.
        by_topic: its series are topics, from which Grafana's readers choose.
    """

    query: str
    absent: float | None = None
    by_topic: bool = False


class Metric(Struct, frozen=True, tag="metric"):
    """Samples of a metric of the workers, summed over them, one series a value of `label`."""

    name: str
    label: str


class Expression(Struct, frozen=True):
    """A line of Prometheus; `legend` may hold `{{label}}`."""

    promql: str
    legend: str


class Promql(Struct, frozen=True, tag="promql"):
    """Lines of Prometheus, for boards; the ops page has no Prometheus to ask."""

    expressions: tuple[Expression, ...]


class Series(Struct, frozen=True):
    """A line whose name is known beforehand; others are shown under their own key."""

    key: str
    title: Words


class Panel(Struct, frozen=True):
    """One chart."""

    id: str
    title: Words
    help: Words
    unit: Unit
    source: Sql | Metric | Promql
    series: tuple[Series, ...] = field(default=())
    stacked: bool = False
    marks_alerts: bool = False
    most_series: int = 8
    kind: Kind = "lines"


# The rows of one step of the clock, by append or write time: dashboards ask by received_at.
_STEP = "toUnixTimestamp(toStartOfInterval({0}, toIntervalSecond(%(step)s))) AS t"
_WITHIN = "tenant = %(tenant)s AND {0} >= %(since)s AND {0} < %(until)s"
_RECEIVED, _WRITTEN = (
    (_STEP.format(column), _WITHIN.format(column)) for column in ("received_at", "written_at")
)
# A trailing mean over %(smooth)s seconds: a hit rate of one second would be noise.
_TRAILING = "(ORDER BY t RANGE BETWEEN %(smooth)s PRECEDING AND CURRENT ROW)"

EVENTS = f"""SELECT {_RECEIVED[0]}, type AS series, count() / %(step)s AS value
FROM interactions WHERE {_RECEIVED[1]} GROUP BY t, series ORDER BY t"""

# A list that no event asked for (a profile changed) has received_at = written_at.
FRESHNESS = f"""SELECT {_WRITTEN[0]},
  quantile(0.5)(dateDiff('millisecond', received_at, written_at)) AS p50,
  quantile(0.99)(dateDiff('millisecond', received_at, written_at)) AS p99
FROM list_writes WHERE {_WRITTEN[1]} AND received_at < written_at GROUP BY t ORDER BY t"""

HIT_RATE = f"""SELECT t,
  sum(hits) OVER trailing / nullIf(sum(evaluated) OVER trailing, 0) AS springtide,
  sum(popular) OVER trailing / nullIf(sum(evaluated) OVER trailing, 0) AS popularity
FROM (SELECT {_RECEIVED[0]}, countIf(rank > 0) AS evaluated,
  countIf(rank BETWEEN 1 AND 10) AS hits, countIf(popularity_rank BETWEEN 1 AND 10) AS popular
  FROM interactions WHERE {_RECEIVED[1]} GROUP BY t)
WINDOW trailing AS {_TRAILING} ORDER BY t"""

# An item without topics stands for itself; a share of fewer than five comments says nothing.
SENTIMENT = f"""SELECT t, series,
  if(sum(n) OVER trailing < 5, NULL, sum(negatives) OVER trailing / sum(n) OVER trailing) AS value,
  sum(n) OVER (PARTITION BY series) AS weight
FROM (SELECT {_RECEIVED[0]},
  arrayJoin(if(empty(topics), [item_id], arrayDistinct(topics))) AS series,
  count() AS n, countIf(label = 'negative') AS negatives
  FROM scored_comments WHERE {_RECEIVED[1]} GROUP BY t, series)
WINDOW trailing AS {_TRAILING.replace("(ORDER", "(PARTITION BY series ORDER")}
ORDER BY weight DESC, series, t LIMIT 2000"""

POLICIES = f"""SELECT {_WRITTEN[0]}, policy AS series, count() / %(step)s AS value
FROM list_writes WHERE {_WRITTEN[1]} GROUP BY t, series ORDER BY t"""

EXPLORED = f"""SELECT {_RECEIVED[0]}, sum(length(explored)) / sum(length(items)) AS explored
FROM served WHERE {_RECEIVED[1]} GROUP BY t ORDER BY t"""

PANELS: tuple[Panel, ...] = (
    Panel(
        "events",
        Words("Events", "事件"),
        Words("What users did, per second", "用户行为，每秒条数"),
        "per_second",
        Sql(EVENTS, absent=0.0),
        (
            Series("click", Words("clicks", "点击")),
            Series("purchase", Words("purchases", "购买")),
            Series("comment", Words("comments", "评论")),
        ),
        stacked=True,
    ),
    Panel(
        "freshness",
        Words("Event to list", "事件到列表"),
        Words("From Kafka's append to the list in Redis", "从写入 Kafka 到列表进入 Redis"),
        "milliseconds",
        Sql(FRESHNESS),
        (Series("p50", Words("p50", "p50")), Series("p99", Words("p99", "p99"))),
    ),
    Panel(
        "hit-rate",
        Words("Hit rate at 10", "前 10 命中率"),
        Words("Each event ranked before it is learned", "先排序、后学习的在线评估"),
        "share",
        Sql(HIT_RATE),
        (
            Series("springtide", Words("Springtide", "Springtide")),
            Series("popularity", Words("popularity", "热门榜")),
        ),
    ),
    Panel(
        "sentiment",
        Words("Negative comments", "负面评论"),
        Words("Share by topic; a red line marks an alert", "各主题占比；红线为告警起点"),
        "share",
        Sql(SENTIMENT, by_topic=True),
        marks_alerts=True,
        most_series=6,
    ),
    Panel(
        "policies",
        Words("Lists written", "写入的列表"),
        Words("By what made them, per second", "按生成方式，每秒条数"),
        "per_second",
        Sql(POLICIES, absent=0.0),
        (
            Series("blend", Words("from the history", "依据历史")),
            Series("interests", Words("from the interests", "依据兴趣")),
            Series("popular", Words("popular", "热门")),
        ),
        stacked=True,
    ),
    Panel(
        "new-items",
        Words("New items explored", "新品探索"),
        Words("By what became of their budget of views", "按曝光预算的状态"),
        "count",
        Metric(EXPLORE_ITEMS, "state"),
        (
            Series("exploring", Words("exploring", "探索中")),
            Series("waiting", Words("waiting", "等待")),
            Series("done", Words("done", "完成")),
        ),
    ),
    Panel(
        "explored",
        Words("Places that explored", "探索位占比"),
        Words("Share of what lists showed", "占展示位的比例"),
        "share",
        Sql(EXPLORED),
        (Series("explored", Words("explored", "探索")),),
    ),
    Panel(
        "queues",
        Words("Queues", "队列"),
        Words("Entries that wait in the workers", "工作进程中等待的条目"),
        "count",
        Metric(QUEUE_DEPTH, "queue"),
    ),
)

BY_ID = {panel.id: panel for panel in PANELS}
