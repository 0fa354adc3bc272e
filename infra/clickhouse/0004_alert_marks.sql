-- What people said of an alert: acknowledged, or snoozed until a time. A row is never changed; the
-- last one of an action holds. The fingerprint is the incident's, also when it is replayed.

CREATE TABLE IF NOT EXISTS alert_marks (
    tenant LowCardinality(String),
    fingerprint String,
    action LowCardinality(String),  -- acknowledge, snooze
    marked_at DateTime64(3, 'UTC'),
    until DateTime64(3, 'UTC'),     -- of a snooze; marked_at or earlier: it ends
    marked_by String                -- what the caller says of himself; may be empty
) ENGINE = MergeTree
PARTITION BY toYYYYMM(marked_at)
ORDER BY (tenant, fingerprint, marked_at)
TTL toDateTime(marked_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;
