-- Where a comment was written (app, web, …): an alert names the slice that holds a spike.

ALTER TABLE scored_comments ADD COLUMN IF NOT EXISTS surface LowCardinality(String) DEFAULT '';
