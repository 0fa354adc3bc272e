-- Which of the items shown were there to be explored, by number, and how likely each was chosen.

ALTER TABLE served ADD COLUMN IF NOT EXISTS explored Array(UInt32) DEFAULT [];
ALTER TABLE served ADD COLUMN IF NOT EXISTS propensities Array(Float32) DEFAULT [];
