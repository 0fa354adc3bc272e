-- Rows lie in the order of their offsets, so that a stretch of them is a stretch of time: what asks
-- for an hour need not read a month.

ALTER TABLE interactions ADD INDEX IF NOT EXISTS by_received received_at TYPE minmax GRANULARITY 1;
ALTER TABLE interactions MATERIALIZE INDEX by_received;
ALTER TABLE scored_comments ADD INDEX IF NOT EXISTS by_received received_at TYPE minmax GRANULARITY 1;
ALTER TABLE scored_comments MATERIALIZE INDEX by_received;
ALTER TABLE scored_comments ADD INDEX IF NOT EXISTS by_occurred occurred_at TYPE minmax GRANULARITY 1;
ALTER TABLE scored_comments MATERIALIZE INDEX by_occurred;

-- Of an item with some comments a day, every stretch of 32,768 rows has one; of 8,192 few do.
ALTER TABLE scored_comments DROP INDEX IF EXISTS by_item;
ALTER TABLE scored_comments ADD INDEX IF NOT EXISTS of_item item_id TYPE bloom_filter GRANULARITY 1;
ALTER TABLE scored_comments MATERIALIZE INDEX of_item;
