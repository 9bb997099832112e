-- The same for rows that are about other rows.
CREATE TABLE IF NOT EXISTS {database}.held_replays AS {database}.replays
ENGINE = MergeTree
ORDER BY (tenant, epoch, partition, offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Rows of replays under a legal hold whose partition has gone.';
ALTER TABLE {database}.held_replays
    ADD COLUMN IF NOT EXISTS hold LowCardinality(String) COMMENT 'that kept the row when its partition went',
    ADD COLUMN IF NOT EXISTS held_at DateTime64(3, 'UTC') COMMENT 'when it was copied here';

CREATE TABLE IF NOT EXISTS {database}.held_repricings AS {database}.repricings
ENGINE = MergeTree
ORDER BY (tenant, epoch, partition, offset, repricing)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Rows of repricings under a legal hold whose partition has gone.';
ALTER TABLE {database}.held_repricings
    ADD COLUMN IF NOT EXISTS hold LowCardinality(String) COMMENT 'that kept the row when its partition went',
    ADD COLUMN IF NOT EXISTS held_at DateTime64(3, 'UTC') COMMENT 'when it was copied here';
