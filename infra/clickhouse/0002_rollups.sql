-- Sums by minute of received_at, fed by what was inserted once: a block that ClickHouse knows by
-- its token reaches neither the table nor the sums.

CREATE TABLE IF NOT EXISTS learner_rollup (
    tenant LowCardinality(String),
    minute DateTime('UTC'),
    events UInt64,
    evaluated UInt64,
    hits UInt64,
    gain Float64,
    popularity_hits UInt64
) ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (tenant, minute)
TTL minute + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW IF NOT EXISTS learner_rollup_feed TO learner_rollup AS
SELECT
    tenant,
    toStartOfMinute(toDateTime(received_at, 'UTC')) AS minute,
    count() AS events,
    countIf(rank > 0) AS evaluated,
    countIf(rank BETWEEN 1 AND 10) AS hits,
    sumIf(1 / log2(rank + 1), rank BETWEEN 1 AND 10) AS gain,
    countIf(popularity_rank BETWEEN 1 AND 10) AS popularity_hits
FROM interactions
GROUP BY tenant, minute;

-- Prequential: each event is ranked before it is learned. One relevant item an event, hence
-- NDCG@10 = 1 / log2(rank + 1). A minute in which nothing was evaluated reads 0 of 0.
CREATE VIEW IF NOT EXISTS learner_metrics AS
SELECT
    minute,
    tenant,
    sum(r.events) AS events,
    sum(r.evaluated) AS evaluated,
    sum(r.hits) / greatest(sum(r.evaluated), 1) AS hr10,
    sum(r.gain) / greatest(sum(r.evaluated), 1) AS ndcg10,
    sum(r.popularity_hits) / greatest(sum(r.evaluated), 1) AS popularity_hr10
FROM learner_rollup AS r
GROUP BY minute, tenant;

CREATE TABLE IF NOT EXISTS sentiment_rollup (
    tenant LowCardinality(String),
    key String,
    minute DateTime('UTC'),
    comments UInt64,
    negatives UInt64,
    neutrals UInt64,
    positives UInt64
) ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (tenant, key, minute)
TTL minute + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;

-- The monitor's keys: tenant, topic:<name>, item:<id>.
CREATE MATERIALIZED VIEW IF NOT EXISTS sentiment_rollup_feed TO sentiment_rollup AS
SELECT
    tenant,
    arrayJoin(arrayConcat(
        ['tenant', concat('item:', item_id)],
        arrayMap(name -> concat('topic:', name), arrayDistinct(topics))
    )) AS key,
    toStartOfMinute(toDateTime(received_at, 'UTC')) AS minute,
    count() AS comments,
    countIf(label = 'negative') AS negatives,
    countIf(label = 'neutral') AS neutrals,
    countIf(label = 'positive') AS positives
FROM scored_comments
GROUP BY tenant, key, minute;

CREATE VIEW IF NOT EXISTS sentiment_by_minute AS
SELECT
    minute,
    tenant,
    key,
    sum(r.comments) AS comments,
    sum(r.negatives) AS negatives,
    sum(r.neutrals) AS neutrals,
    sum(r.positives) AS positives
FROM sentiment_rollup AS r
GROUP BY minute, tenant, key;
