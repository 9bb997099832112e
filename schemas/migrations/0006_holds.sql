-- Rows under a legal hold whose partition has gone: the same columns, which hold kept them first, and since when. No life
-- of their own: they go when no hold covers them any more. Their seals stay, so that a changed one is still found.
CREATE TABLE IF NOT EXISTS {database}.held_calls AS {database}.calls
ENGINE = MergeTree
ORDER BY (tenant, epoch, partition, offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Rows of calls under a legal hold whose partition has gone.';
ALTER TABLE {database}.held_calls
    ADD COLUMN IF NOT EXISTS hold LowCardinality(String) COMMENT 'that kept the row when its partition went',
    ADD COLUMN IF NOT EXISTS held_at DateTime64(3, 'UTC') COMMENT 'when it was copied here';

CREATE TABLE IF NOT EXISTS {database}.held_call_content AS {database}.call_content
ENGINE = MergeTree
ORDER BY (tenant, epoch, partition, offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Rows of call_content under a legal hold whose partition has gone.';
ALTER TABLE {database}.held_call_content
    ADD COLUMN IF NOT EXISTS hold LowCardinality(String) COMMENT 'that kept the row when its partition went',
    ADD COLUMN IF NOT EXISTS held_at DateTime64(3, 'UTC') COMMENT 'when it was copied here';

CREATE TABLE IF NOT EXISTS {database}.held_evaluations AS {database}.evaluations
ENGINE = MergeTree
ORDER BY (tenant, epoch, partition, offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Rows of evaluations under a legal hold whose partition has gone.';
ALTER TABLE {database}.held_evaluations
    ADD COLUMN IF NOT EXISTS hold LowCardinality(String) COMMENT 'that kept the row when its partition went',
    ADD COLUMN IF NOT EXISTS held_at DateTime64(3, 'UTC') COMMENT 'when it was copied here';

CREATE TABLE IF NOT EXISTS {database}.held_feedback AS {database}.feedback
ENGINE = MergeTree
ORDER BY (tenant, epoch, partition, offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Rows of feedback under a legal hold whose partition has gone.';
ALTER TABLE {database}.held_feedback
    ADD COLUMN IF NOT EXISTS hold LowCardinality(String) COMMENT 'that kept the row when its partition went',
    ADD COLUMN IF NOT EXISTS held_at DateTime64(3, 'UTC') COMMENT 'when it was copied here';

CREATE TABLE IF NOT EXISTS {database}.held_heartbeats AS {database}.heartbeats
ENGINE = MergeTree
ORDER BY (tenant, epoch, partition, offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Rows of heartbeats under a legal hold whose partition has gone.';
ALTER TABLE {database}.held_heartbeats
    ADD COLUMN IF NOT EXISTS hold LowCardinality(String) COMMENT 'that kept the row when its partition went',
    ADD COLUMN IF NOT EXISTS held_at DateTime64(3, 'UTC') COMMENT 'when it was copied here';

CREATE TABLE IF NOT EXISTS {database}.held_dead_letters AS {database}.dead_letters
ENGINE = MergeTree
ORDER BY (tenant, epoch, partition, offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Rows of dead_letters under a legal hold whose partition has gone.';
ALTER TABLE {database}.held_dead_letters
    ADD COLUMN IF NOT EXISTS hold LowCardinality(String) COMMENT 'that kept the row when its partition went',
    ADD COLUMN IF NOT EXISTS held_at DateTime64(3, 'UTC') COMMENT 'when it was copied here';

CREATE TABLE IF NOT EXISTS {database}.held_windows AS {database}.windows
ENGINE = MergeTree
ORDER BY (tenant, window_ms, dimension, subject_key, start, revision)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Rows of windows under a legal hold whose partition has gone.';
ALTER TABLE {database}.held_windows
    ADD COLUMN IF NOT EXISTS hold LowCardinality(String) COMMENT 'that kept the row when its partition went',
    ADD COLUMN IF NOT EXISTS held_at DateTime64(3, 'UTC') COMMENT 'when it was copied here';

CREATE TABLE IF NOT EXISTS {database}.held_anomalies AS {database}.anomalies
ENGINE = MergeTree
ORDER BY (tenant, rule, id, revision)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Rows of anomalies under a legal hold whose partition has gone.';
ALTER TABLE {database}.held_anomalies
    ADD COLUMN IF NOT EXISTS hold LowCardinality(String) COMMENT 'that kept the row when its partition went',
    ADD COLUMN IF NOT EXISTS held_at DateTime64(3, 'UTC') COMMENT 'when it was copied here';

CREATE TABLE IF NOT EXISTS {database}.held_late_events AS {database}.late_events
ENGINE = MergeTree
ORDER BY (tenant, stage, epoch, partition, offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Rows of late_events under a legal hold whose partition has gone.';
ALTER TABLE {database}.held_late_events
    ADD COLUMN IF NOT EXISTS hold LowCardinality(String) COMMENT 'that kept the row when its partition went',
    ADD COLUMN IF NOT EXISTS held_at DateTime64(3, 'UTC') COMMENT 'when it was copied here';
