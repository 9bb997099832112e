-- Who set what, when and why. A copy: what stages obey stands on the topic, for ever; this can be asked with SQL.
CREATE TABLE IF NOT EXISTS {database}.controls_log
(
    tenant LowCardinality(String) COMMENT 'of the selector; empty where it is for all',
    kind LowCardinality(String) COMMENT 'switch, budget, policy, hold, erasure, ...',
    selector Map(LowCardinality(String), String) COMMENT 'to what it applies; empty is everything',
    owner String COMMENT 'a person or a policy',
    version UInt64 COMMENT 'of versioned kinds, from 1',
    cause String COMMENT 'id of the anomaly that led to it, where there is one',
    appended_at DateTime64(3, 'UTC') COMMENT 'when the broker took it; versions take effect 30 s later',
    offset UInt64 COMMENT 'in the topic of controls',
    body String CODEC(ZSTD(1)) COMMENT 'what it says, as JSON; persons are keyed hashes',
    retention_days UInt16 DEFAULT 3650,
    retention_date Date32 MATERIALIZED toDate32(appended_at) + retention_days
)
ENGINE = ReplacingMergeTree
PARTITION BY (retention_days, toMonday(appended_at))
ORDER BY (kind, appended_at, offset)
TTL toDateTime(appended_at) + toIntervalDay(retention_days + 14)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000
COMMENT 'Every control record, also those that later ones replaced; the same record twice is one.';

CREATE TABLE IF NOT EXISTS {database}.held_controls_log AS {database}.controls_log
ENGINE = MergeTree
ORDER BY (kind, appended_at, offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Rows of controls_log under a legal hold whose partition has gone.';
ALTER TABLE {database}.held_controls_log
    ADD COLUMN IF NOT EXISTS hold LowCardinality(String) COMMENT 'that kept the row when its partition went',
    ADD COLUMN IF NOT EXISTS held_at DateTime64(3, 'UTC') COMMENT 'when it was copied here';
