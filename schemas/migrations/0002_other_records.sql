-- What is not a call but came the same way. The same identity, life and chain as `calls`.
CREATE TABLE IF NOT EXISTS {database}.evaluations
(
    epoch UInt32 CODEC(Delta, LZ4),
    partition UInt32 CODEC(Delta, LZ4),
    offset UInt64 CODEC(Delta, LZ4),
    tenant LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta, LZ4),
    retention_days UInt16,
    id String,
    ts DateTime64(3, 'UTC') CODEC(Delta, LZ4),
    backfill Bool,
    environment LowCardinality(String),
    team LowCardinality(String),
    service LowCardinality(String),
    feature LowCardinality(String),
    model LowCardinality(String),
    prompt_name LowCardinality(String),
    prompt_version LowCardinality(String),
    variant LowCardinality(String),
    run String,
    user String,
    session String,
    trace String,
    about String COMMENT 'id of the call it judges',
    name LowCardinality(String),
    score Nullable(Float64),
    label LowCardinality(String),
    content_commitment FixedString(32),
    text_days UInt16,
    policy_version UInt64,
    redaction_version LowCardinality(String),
    key_version UInt64,
    producer LowCardinality(String),
    producer_sequence Nullable(UInt64),
    retention_date Date32 MATERIALIZED toDate32(received_at) + retention_days,
    INDEX by_position (epoch, partition, offset) TYPE minmax GRANULARITY 1,
    INDEX by_about about TYPE bloom_filter(0.01) GRANULARITY 1,
    -- An insert names its deadline in log_comment; the server refuses it when it passes by later than that.
    CONSTRAINT before_deadline CHECK toUnixTimestamp64Milli(nowInBlock64(3))
        <= ifNull(toInt64OrNull(extract(getSetting('log_comment'), 'deadline=([0-9]+)')), 9000000000000)
)
ENGINE = MergeTree
PARTITION BY (retention_days, toMonday(received_at))
ORDER BY (tenant, feature, toStartOfHour(received_at), epoch, partition, offset)
TTL toDateTime(received_at) + toIntervalDay(retention_days + 14)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Scores that judges and tests gave to calls.';

CREATE TABLE IF NOT EXISTS {database}.feedback
(
    epoch UInt32 CODEC(Delta, LZ4),
    partition UInt32 CODEC(Delta, LZ4),
    offset UInt64 CODEC(Delta, LZ4),
    tenant LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta, LZ4),
    retention_days UInt16,
    id String,
    ts DateTime64(3, 'UTC') CODEC(Delta, LZ4),
    backfill Bool,
    environment LowCardinality(String),
    team LowCardinality(String),
    service LowCardinality(String),
    feature LowCardinality(String),
    model LowCardinality(String),
    prompt_name LowCardinality(String),
    prompt_version LowCardinality(String),
    variant LowCardinality(String),
    run String,
    user String,
    session String,
    trace String,
    about String COMMENT 'id of the call it is about',
    rating Nullable(Float64),
    label LowCardinality(String),
    content_commitment FixedString(32),
    text_days UInt16,
    policy_version UInt64,
    redaction_version LowCardinality(String),
    key_version UInt64,
    producer LowCardinality(String),
    producer_sequence Nullable(UInt64),
    retention_date Date32 MATERIALIZED toDate32(received_at) + retention_days,
    INDEX by_position (epoch, partition, offset) TYPE minmax GRANULARITY 1,
    INDEX by_about about TYPE bloom_filter(0.01) GRANULARITY 1,
    CONSTRAINT before_deadline CHECK toUnixTimestamp64Milli(nowInBlock64(3))
        <= ifNull(toInt64OrNull(extract(getSetting('log_comment'), 'deadline=([0-9]+)')), 9000000000000)
)
ENGINE = MergeTree
PARTITION BY (retention_days, toMonday(received_at))
ORDER BY (tenant, feature, toStartOfHour(received_at), epoch, partition, offset)
TTL toDateTime(received_at) + toIntervalDay(retention_days + 14)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What people said of calls; a comment is text and stands in call_content.';

CREATE TABLE IF NOT EXISTS {database}.heartbeats
(
    epoch UInt32 CODEC(Delta, LZ4),
    partition UInt32 CODEC(Delta, LZ4),
    offset UInt64 CODEC(Delta, LZ4),
    tenant LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta, LZ4),
    retention_days UInt16,
    id String,
    ts DateTime64(3, 'UTC') CODEC(Delta, LZ4),
    environment LowCardinality(String),
    service LowCardinality(String),
    producer LowCardinality(String) COMMENT 'instance, keyed hash',
    producer_sequence Nullable(UInt64),
    producer_library LowCardinality(String),
    emitted UInt64,
    delivered UInt64,
    refused UInt64,
    dropped UInt64,
    last_sequence Nullable(Int64),
    closing Bool,
    retention_date Date32 MATERIALIZED toDate32(received_at) + retention_days,
    INDEX by_position (epoch, partition, offset) TYPE minmax GRANULARITY 1,
    CONSTRAINT before_deadline CHECK toUnixTimestamp64Milli(nowInBlock64(3))
        <= ifNull(toInt64OrNull(extract(getSetting('log_comment'), 'deadline=([0-9]+)')), 9000000000000)
)
ENGINE = MergeTree
PARTITION BY (retention_days, toMonday(received_at))
ORDER BY (tenant, producer, received_at, epoch, partition, offset)
TTL toDateTime(received_at) + toIntervalDay(retention_days + 14)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What producer instances say they have sent and lost.';

CREATE TABLE IF NOT EXISTS {database}.dead_letters
(
    epoch UInt32 CODEC(Delta, LZ4),
    partition UInt32 CODEC(Delta, LZ4),
    offset UInt64 CODEC(Delta, LZ4),
    tenant LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta, LZ4),
    retention_days UInt16,
    reason LowCardinality(String) COMMENT 'not_json, wrong_type, row_refused, ...',
    path String COMMENT 'where in the record; for row_refused the table',
    size_bytes UInt64,
    hash String COMMENT 'keyed hash of the record',
    producer LowCardinality(String),
    producer_sequence Nullable(UInt64),
    retention_date Date32 MATERIALIZED toDate32(received_at) + retention_days,
    INDEX by_position (epoch, partition, offset) TYPE minmax GRANULARITY 1,
    CONSTRAINT before_deadline CHECK toUnixTimestamp64Milli(nowInBlock64(3))
        <= ifNull(toInt64OrNull(extract(getSetting('log_comment'), 'deadline=([0-9]+)')), 9000000000000)
)
ENGINE = MergeTree
PARTITION BY (retention_days, toMonday(received_at))
ORDER BY (tenant, reason, received_at, epoch, partition, offset)
TTL toDateTime(received_at) + toIntervalDay(retention_days + 14)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Records that could not be used: where, how large, why. Never their text.';
