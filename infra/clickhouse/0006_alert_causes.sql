-- Why an alert was raised: the key it is grouped under, what else rose, the terms and the slice that tell it.

ALTER TABLE alerts ADD COLUMN IF NOT EXISTS parent String DEFAULT '';
ALTER TABLE alerts ADD COLUMN IF NOT EXISTS common Array(String) DEFAULT [];
ALTER TABLE alerts ADD COLUMN IF NOT EXISTS terms Array(String) DEFAULT [];
ALTER TABLE alerts ADD COLUMN IF NOT EXISTS slices String DEFAULT '[]';  -- JSON, the likeliest first
ALTER TABLE alerts ADD COLUMN IF NOT EXISTS link String DEFAULT '';
