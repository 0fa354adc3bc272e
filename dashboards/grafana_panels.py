"""Panels that only Grafana shows: what Prometheus knows of our processes, and tables of alerts.

Every metric has a panel here or in `panels` (a test says which one lacks it, and what to write).
"""

from __future__ import annotations

from collections.abc import Mapping

from dashboards.panels import Expression, Panel, Promql, Sql, Unit, Words
from infra.metrics import QUEUE_DEPTH


def _over_time(metric: str) -> str:
    return f"rate({metric}[$__rate_interval])"


def rates(name: str, en: str, zh: str, *metrics: str, by: str = "", about: Words) -> Panel:
    """How often something happens, per second: a line a metric, or a value of the label `by`."""
    lines = tuple(
        Expression(
            f"sum by ({by}) ({_over_time(metric)})" if by else f"sum({_over_time(metric)})",
            "{{" + by + "}}" if by else metric.removeprefix("springtide_").removesuffix("_total"),
        )
        for metric in metrics
    )
    return Panel(name, Words(en, zh), about, "per_second", Promql(lines))


def quantiles(
    name: str, en: str, zh: str, metric: str, about: Words, unit: Unit = "seconds", by: str = ""
) -> Panel:
    """The median and the slowest of a hundred of a histogram."""
    grouped = f"le, {by}" if by else "le"
    lines = tuple(
        Expression(
            f"histogram_quantile({share}, sum by ({grouped}) ({_over_time(metric + '_bucket')}))",
            f"{said} {{{{{by}}}}}" if by else said,
        )
        for share, said in ((0.5, "p50"), (0.99, "p99"))
    )
    return Panel(name, Words(en, zh), about, unit, Promql(lines))


def levels(
    name: str,
    en: str,
    zh: str,
    metrics: Mapping[str, str],
    about: Words,
    unit: Unit = "count",
) -> Panel:
    """How much there is now: expression → legend."""
    lines = tuple(Expression(promql, legend) for promql, legend in metrics.items())
    return Panel(name, Words(en, zh), about, unit, Promql(lines))


WORKER = (
    rates("taken", "Events taken", "读取的事件", "springtide_events_total", by="topic",
        about=Words("From Kafka, by topic", "来自 Kafka，按主题")),
    rates("learned", "What became of events", "事件去向", "springtide_learned_total",
        "springtide_duplicates_total", "springtide_ignored_total",
        about=Words("Learned, met before, or of users who opted out", "已学习、重复、用户已退出")),
    rates("dead-letters", "Dead letters", "死信", "springtide_dead_letters_total", by="topic",
        about=Words("Events that cannot be used", "无法使用的事件")),
    rates("lists", "Lists", "列表", "springtide_lists_written_total",
        "springtide_lists_refused_total",
        about=Words("Taken by Redis, or older than the stored one", "已写入，或比已存的旧")),
    quantiles("worker-freshness", "Event to list, all users", "事件到列表（全部）",
        "springtide_freshness_seconds",
        Words("From Kafka's append to Redis's answer", "从写入 Kafka 到 Redis 应答")),
    quantiles("checkpoint", "Writing a checkpoint", "写检查点", "springtide_checkpoint_seconds",
        Words("Events wait for it to be acknowledged", "事件等待其完成后确认")),
    quantiles("checkpoint-pause", "Pause of learning", "学习暂停",
        "springtide_checkpoint_pause_seconds",
        Words("While a snapshot is taken", "生成快照期间")),
    levels("lag", "Lag", "积压", {"sum by (topic) (springtide_lag_records)": "{{topic}}"},
        Words("Records appended and not yet worked off", "已写入、未处理的记录")),
    levels("queues-now", "Queues of the workers", "工作进程的队列",
        {f"sum by (queue) ({QUEUE_DEPTH})": "{{queue}}"},
        Words("Entries that wait; what grows is behind", "等待的条目；持续增长即落后")),
    levels("memory", "Users and items in memory", "内存中的用户与物品",
        {"sum(springtide_users)": "users", "max(springtide_items)": "items"},
        Words("Users summed, items of the largest worker", "用户合计，物品取最大")),
    rates("deltas", "What workers tell each other", "工作进程间的增量", "springtide_deltas_total",
        by="what", about=Words("Increments and factors taken", "接收的增量与因子")),
    levels("deltas-torn", "Increments that never came", "缺失的增量",
        {"max(springtide_deltas_torn)": "partitions"},
        Words("Of the worker with most: start it anew", "取最多者：重启该进程")),
    rates("checkpoint-bytes", "Written to checkpoints", "检查点写入量",
        "springtide_checkpoint_bytes_total", about=Words("Bytes", "字节")),
    levels("bounded", "Left out for want of room", "因上限而舍弃",
        {"sum(springtide_users_dropped)": "users", "max(springtide_items_refused)": "items",
         "max(springtide_items_dropped)": "idle items", "sum(springtide_pairs_refused)": "pairs"},
        Words("Since the start: SPRINGTIDE_MAX_USERS, _MAX_ITEMS", "自启动以来")),
)  # fmt: skip

API = (
    rates("api-requests", "API requests", "API 请求", "springtide_api_request_seconds_count",
        by="status", about=Words("By status", "按状态码")),
    quantiles("api-seconds", "API answers", "API 响应时间", "springtide_api_request_seconds",
        Words("From a request's head to its answer", "从请求到响应"), by="operation"),
    rates("api-events", "Events posted", "提交的事件", "springtide_api_events_total", by="outcome",
        about=Words("Accepted or rejected", "接受或拒绝")),
    rates("api-served", "Lists shown", "展示的列表", "springtide_api_served_total", by="outcome",
        about=Words("Recorded, or dropped because too many waited", "已记录，或因积压丢弃")),
)  # fmt: skip

MONITOR = (
    rates("alerts-raised", "Alerts", "告警", "springtide_alerts_total", by="state",
        about=Words("Raised and resolved", "触发与恢复")),
    rates("alert-failures", "Alerts not delivered", "未送达的告警",
        "springtide_alert_delivery_failures_total",
        about=Words("A receiver did not take them", "接收方未接受")),
    rates("keys-refused", "Not monitored", "未监控的评论", "springtide_keys_refused_total",
        about=Words("Comments on items or topics without room", "因上限而未监控的物品或主题")),
    levels("items-held", "Items held", "暂停推荐的物品", {"max(springtide_items_held)": "items"},
        Words("Out of the lists while a severe incident lasts", "严重事件期间不进入列表")),
)  # fmt: skip

SCORING = (
    rates("scored", "Comments scored", "已评分评论", "springtide_comments_scored_total",
        by="label", about=Words("By sentiment", "按情感")),
    rates("scored-late", "Scored in haste", "应急评分", "springtide_comments_late_total",
        about=Words("By the n-gram expert alone: the classifier was behind",
                    "分类器积压，仅由 n-gram 模型评分")),
    quantiles("score-seconds", "A batch at the classifier", "一批评论的评分时间",
        "springtide_score_batch_seconds", Words("As the worker sees it", "从工作进程看")),
)  # fmt: skip

CLASSIFIER = (
    rates("cl-requests", "Requests", "请求", "springtide_classifier_requests_total", by="status",
        about=Words("By status", "按状态码")),
    rates("cl-texts", "Texts answered", "已处理文本", "springtide_classifier_texts_total",
        by="task", about=Words("By task", "按任务")),
    rates("cl-odd", "Texts without an answer", "未得到结果的文本",
        "springtide_classifier_flagged_total", "springtide_classifier_item_errors_total",
        "springtide_classifier_refused_total", "springtide_classifier_dropped_total",
        "springtide_classifier_expired_total",
        about=Words("Empty, failed, refused or given up", "空白、失败、拒绝或放弃")),
    levels("cl-queued", "Texts queued", "排队文本",
        {"sum(springtide_classifier_queued)": "queued"},
        Words("Taken and not yet answered", "已接收、未回答")),
    quantiles("cl-prepare", "Hygiene and tokens", "清洗与分词",
        "springtide_classifier_prepare_seconds", Words("Of a request", "每个请求")),
    quantiles("cl-wait", "Wait for the device", "等待设备", "springtide_classifier_wait_seconds",
        Words("From tokenised to the device", "从分词完成到设备")),
    quantiles("cl-device", "A batch on the device", "设备上的一批",
        "springtide_classifier_device_seconds", Words("CPU or GPU", "CPU 或 GPU")),
    quantiles("cl-decode", "Writing answers", "写出结果",
        "springtide_classifier_decode_seconds", Words("Of a request", "每个请求")),
    rates("cl-tokens", "Tokens on the device", "设备上的词元",
        "springtide_classifier_tokens_total", by="kind",
        about=Words("Real ones and padding", "有效词元与填充")),
    levels("cl-peak", "Share of peak", "峰值占比",
        {"sum(rate(springtide_classifier_operations_total[$__rate_interval]))"
            " / sum(rate(springtide_classifier_device_seconds_sum[$__rate_interval]))"
            " / avg(springtide_classifier_peak_operations_per_second)": "share"},
        Words("Of what a large matrix product reached at start, while the device works",
            "设备工作时，相对启动时大矩阵乘法所达速度"), unit="share"),
    rates("cl-versions", "Versions exchanged", "版本切换", "springtide_classifier_swaps_total",
        by="outcome", about=Words("While serving", "服务期间")),
    rates("cl-shadow", "Shadow version", "影子版本", "springtide_classifier_shadow_total",
        by="outcome", about=Words("Its labels against the current one's", "与当前版本标签对比")),
    quantiles("cl-rows", "Texts in a batch", "每批文本", "springtide_classifier_batch_rows",
        Words("Larger is cheaper", "越大越省"), unit="count"),
    quantiles("cl-fill", "Real tokens in a batch", "批内有效词元",
        "springtide_classifier_batch_fill_ratio", Words("Padding apart", "不含填充"),
        unit="share"),
)  # fmt: skip

_HERE = "tenant = %(tenant)s AND received_at >= %(since)s AND received_at < %(until)s"

NDCG = """SELECT toUnixTimestamp(minute) AS t, ndcg10 AS springtide
FROM learner_metrics
WHERE tenant = %(tenant)s AND minute >= %(since)s AND minute < %(until)s AND evaluated > 0
ORDER BY t"""

COVERAGE = f"""SELECT toUnixTimestamp(toStartOfInterval(received_at,
    toIntervalSecond(greatest(60, %(step)s)))) AS t,
  uniq(arrayJoin(items)) AS shown
FROM served WHERE {_HERE} GROUP BY t ORDER BY t"""

BY_MODEL = f"""SELECT toUnixTimestamp(toStartOfInterval(received_at,
    toIntervalSecond(greatest(60, %(step)s)))) AS t,
  model_version AS series, countIf(label = 'negative') / count() AS value
FROM scored_comments WHERE {_HERE} GROUP BY t, series ORDER BY t"""

ALERTS_NOW = f"""SELECT argMax(state, (received_at, offset)) AS now, argMax(severity, evidence)
    AS severity, any(title) AS title, any(key) AS key, min(started_at) AS began,
  max(evidence) AS log10_evidence, max(negatives) AS negatives, max(comments) AS comments
FROM alerts WHERE {_HERE} GROUP BY fingerprint ORDER BY now, began DESC LIMIT 200"""

ALERTS_BY_SEVERITY = f"""SELECT toUnixTimestamp(toStartOfInterval(received_at,
    toIntervalSecond(greatest(300, %(step)s)))) AS t, severity AS series, count() AS value
FROM alerts WHERE {_HERE} AND state = 'firing' GROUP BY t, series ORDER BY t"""

QUALITY = (
    Panel("ndcg", Words("NDCG at 10", "NDCG@10"),
        Words("Each event ranked before it is learned, by minute", "先排序、后学习，按分钟"),
        "share", Sql(NDCG)),
    Panel("coverage", Words("Different items shown", "展示的不同物品"),
        Words("What was recorded on served.v1", "依据 served.v1 的记录"), "count", Sql(COVERAGE)),
)  # fmt: skip

_BY_AGE = "sum by (what, age) (rate(springtide_items_by_age_total[$__rate_interval]))"
_PRICE = "sum(rate(springtide_explore_ndcg_total{{list='{0}'}}[$__rate_interval]))"

NEW_ITEMS = (
    levels("by-age", "Lists, views, purchases by item age", "按上架时长的列表、曝光与购买",
        {f"{_BY_AGE} / on (what) group_left sum by (what) ({_BY_AGE})": "{{what}}: {{age}}"},
        Words("Share of the items in lists, viewed, bought", "各占比"), "share"),
    levels("explore-price", "What exploring costs", "探索的代价",
        {f"1 - {_PRICE.format('with')} / {_PRICE.format('without')}": "NDCG@10"},
        Words("Share of NDCG@10, expected from events' ranks", "按每个事件的名次估计"), "share"),
    rates("explore-views", "Views of new items", "新品曝光", "springtide_explore_views_total",
        about=Words("Until their budget is spent", "直至预算用完")),
    quantiles("first-list", "Published to first list", "上架到首次入列",
        "springtide_first_list_seconds",
        Words("Of the lists looked at, every eighth", "抽样每八个列表")),
    rates("vectors", "Vectors of items", "物品向量", "springtide_item_vectors_total", by="outcome",
        about=Words("Taken, of another model, refused", "采用、其他模型、被拒")),
    rates("vectors-failed", "No vectors made", "向量生成失败", "springtide_embed_failures_total",
        about=Words("The model server was away or failed", "模型服务不可用")),
    levels("vectors-missing", "Items without a vector", "缺少向量的物品",
        {"max(springtide_items_without_vector)": "items"},
        Words("Compared by words and tags alone", "仅按词与标签比较")),
)  # fmt: skip

SENTIMENT = (
    Panel("by-model", Words("Negative share by model", "各模型的负面占比"),
        Words("A new model must not look like a scandal", "新模型不应看似丑闻"), "share",
        Sql(BY_MODEL)),
)  # fmt: skip

ALERTS = (
    Panel("alerts-now", Words("Alerts", "告警"),
        Words("Of the time shown, those that fire first", "所选时间内，触发中的在前"), "count",
        Sql(ALERTS_NOW), kind="table"),
    Panel("alerts-severity", Words("Alerts by severity", "按严重程度"),
        Words("When they were raised", "触发时间"), "count", Sql(ALERTS_BY_SEVERITY)),
)  # fmt: skip
