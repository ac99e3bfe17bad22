-- What an answer promised is kept: the instant before which a pending retry does not start, and everything that
-- whoever created a plan under an idempotency key was told.

ALTER TABLE task ADD COLUMN not_before INTEGER;

-- JSON: what validation found, as the answer had it; [] for plans of earlier schemas, which kept nothing.
ALTER TABLE idempotency ADD COLUMN findings BLOB NOT NULL DEFAULT x'5B5D';
