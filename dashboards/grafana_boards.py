"""The five boards, and the marks on them: which panels stand on which dashboard of Grafana."""

from __future__ import annotations

from msgspec import Struct

from dashboards import grafana_panels as more
from dashboards.panels import BY_ID, Panel, Words

FOLDER_UID = "springtide"
FOLDER_TITLE = "Springtide"


class Mark(Struct, frozen=True):
    """Annotations: SQL that gives `time`, perhaps `timeEnd`, `title`, `text` and `tags`."""

    name: Words
    colour: str
    query: str


class Board(Struct, frozen=True):
    """One dashboard; `uid` is its place in Grafana and the name of its file."""

    uid: str
    title: Words
    panels: tuple[Panel, ...]


_HERE = "tenant = %(tenant)s AND received_at >= %(since)s AND received_at < %(until)s"

ALERT_MARKS = f"""SELECT min(received_at) AS time,
  if(maxIf(received_at, state = 'resolved') > min(received_at),
    maxIf(received_at, state = 'resolved'), min(received_at)) AS timeEnd,
  if(any(title) = '', any(key), any(title)) AS title,
  concat(toString(max(negatives)), ' of ', toString(max(comments)), ' comments are negative')
    AS text, any(severity) AS tags
FROM alerts WHERE {_HERE} GROUP BY fingerprint ORDER BY time LIMIT 200"""

# By minute: while workers change over, both models score.
MODEL_MARKS = f"""SELECT time, concat('model ', version, ' in place of ', before) AS text,
  'model' AS tags
FROM (SELECT toStartOfMinute(received_at) AS time,
    argMax(model_version, received_at) AS version,
    lagInFrame(version) OVER (ORDER BY time) AS before
  FROM scored_comments WHERE {_HERE} GROUP BY time)
WHERE before != '' AND before != version ORDER BY time LIMIT 100"""

MARKS = (
    Mark(Words("Alerts", "告警"), "red", ALERT_MARKS),
    Mark(Words("Model swaps", "模型更换"), "purple", MODEL_MARKS),
)

TENANTS = """SELECT DISTINCT tenant FROM interactions
WHERE received_at >= now() - INTERVAL 30 DAY ORDER BY tenant"""

# The same names as the lines of the panel: an item without topics stands for itself.
TOPICS = """SELECT arrayJoin(if(empty(topics), [item_id], arrayDistinct(topics))) AS name
FROM scored_comments WHERE tenant = ${tenant:sqlstring} AND received_at >= now() - INTERVAL 7 DAY
GROUP BY name ORDER BY count() DESC LIMIT 200"""

BOARDS = (
    Board("springtide-health", Words("Stream health", "数据流健康"),
        (BY_ID["events"], BY_ID["freshness"], *more.WORKER, *more.API)),
    Board("springtide-quality", Words("Recommender quality", "推荐质量"),
        (BY_ID["hit-rate"], *more.QUALITY, BY_ID["policies"], BY_ID["new-items"],
         BY_ID["explored"], *more.NEW_ITEMS)),
    Board("springtide-sentiment", Words("Sentiment", "情感"),
        (BY_ID["sentiment"], *more.SENTIMENT, *more.SCORING)),
    Board("springtide-alerts", Words("Alerts", "告警"), (*more.ALERTS, *more.MONITOR)),
    Board("springtide-classifier", Words("Classifier", "分类器"), more.CLASSIFIER),
)  # fmt: skip
