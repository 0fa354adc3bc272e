-- What the archive writes. Others may query these tables: columns are added, never renamed.
-- topic, partition and offset name the Kafka record a row came from; user_key is a pseudonym.
-- received_at is the broker's append time: partitions and expiry count from it, so that a replay
-- of old events is not deleted on arrival. The order (topic, partition, offset) answers "what is
-- the last offset" at once; dashboards ask by received_at, whose range every part knows.

CREATE TABLE IF NOT EXISTS interactions (
    tenant LowCardinality(String),
    id String,
    type LowCardinality(String),
    user_key String,
    item_id String,
    occurred_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    topic LowCardinality(String),
    `partition` UInt32,
    offset UInt64 CODEC(Delta, ZSTD),
    surface LowCardinality(String),
    price Float64,
    currency LowCardinality(String),
    quantity UInt32,
    kind Int8,
    -- The item's place in the user's list just before it was learned, from 1.
    -- 0: not evaluated; 2147483647: a miss.
    rank UInt32,
    popularity_rank UInt32,
    INDEX by_item item_id TYPE bloom_filter GRANULARITY 4,
    INDEX by_user user_key TYPE bloom_filter GRANULARITY 4
) ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (topic, `partition`, offset)
TTL toDateTime(received_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS scored_comments (
    tenant LowCardinality(String),
    id String,
    user_key String,
    item_id String,
    topics Array(LowCardinality(String)),
    occurred_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    topic LowCardinality(String),
    `partition` UInt32,
    offset UInt64 CODEC(Delta, ZSTD),
    text String TTL toDateTime(received_at) + INTERVAL 90 DAY,
    label LowCardinality(String),
    negative Float32,
    neutral Float32,
    positive Float32,
    model_version LowCardinality(String),
    language LowCardinality(String),
    author_cluster String,
    flagged UInt8,
    INDEX by_item item_id TYPE bloom_filter GRANULARITY 4,
    INDEX by_user user_key TYPE bloom_filter GRANULARITY 4
) ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (topic, `partition`, offset)
TTL toDateTime(received_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS alerts (
    tenant LowCardinality(String),
    fingerprint String,
    key String,
    channel LowCardinality(String),
    state LowCardinality(String),
    started_at DateTime64(3, 'UTC'),
    raised_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    evidence Float64,   -- log10 of the e-value
    threshold Float64,  -- log10 of what the false-alarm budget asks
    negatives UInt64,
    comments UInt64,
    share Float64,
    baseline Float64,
    effect Float64,
    severity LowCardinality(String),
    title String,
    examples String,    -- JSON: the most telling comments
    historic UInt8,
    topic LowCardinality(String),
    `partition` UInt32,
    offset UInt64
) ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (topic, `partition`, offset)
TTL toDateTime(received_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS served (
    tenant LowCardinality(String),
    user_key String,
    list_version String,
    policy LowCardinality(String),
    surface LowCardinality(String),
    items Array(String),
    positions Array(UInt32),
    seed Int64,
    served_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    topic LowCardinality(String),
    `partition` UInt32,
    offset UInt64 CODEC(Delta, ZSTD),
    INDEX by_user user_key TYPE bloom_filter GRANULARITY 4
) ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (topic, `partition`, offset)
TTL toDateTime(received_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;

-- One row a list that Redis took. received_at: the newest event in it (written_at where none).
CREATE TABLE IF NOT EXISTS list_writes (
    tenant LowCardinality(String),
    user_key String,
    epoch UInt64,
    seq UInt64,
    watermark DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    written_at DateTime64(3, 'UTC'),
    policy LowCardinality(String),
    size UInt16
) ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (tenant, written_at)
TTL toDateTime(received_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;
