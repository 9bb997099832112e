-- What was computed from the records. Not chained: it can be computed again. A later revision replaces an earlier one.
CREATE TABLE IF NOT EXISTS {database}.windows
(
    tenant LowCardinality(String),
    dimension LowCardinality(String) COMMENT 'names of what is told apart, as tenant+feature+model',
    subject Map(LowCardinality(String), String),
    subject_key String COMMENT 'the subject as one text, for identity',
    window_ms UInt64,
    start DateTime64(3, 'UTC'),
    end DateTime64(3, 'UTC'),
    revision UInt64,
    calls UInt64,
    errors UInt64,
    input_tokens UInt64,
    output_tokens UInt64,
    cost_usd Decimal(38, 9) COMMENT 'of the calls with a known price',
    unpriced UInt64 COMMENT 'calls without one',
    latency_p50_ms Nullable(Float64),
    latency_p95_ms Nullable(Float64),
    latency_p99_ms Nullable(Float64),
    ttft_p50_ms Nullable(Float64),
    ttft_p95_ms Nullable(Float64),
    ttft_p99_ms Nullable(Float64),
    late UInt64 COMMENT 'events that came behind the allowed lateness',
    record String CODEC(ZSTD(1)) COMMENT 'the published record, as JSON',
    retention_days UInt16 DEFAULT 400,
    retention_date Date32 MATERIALIZED toDate32(start) + retention_days
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY (retention_days, toMonday(start))
ORDER BY (tenant, window_ms, dimension, subject_key, start)
TTL toDateTime(start) + toIntervalDay(retention_days + 14)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000
COMMENT 'Closed windows; keep the highest revision of each.';

CREATE TABLE IF NOT EXISTS {database}.anomalies
(
    tenant LowCardinality(String),
    id String,
    revision UInt64,
    rule LowCardinality(String),
    tier UInt8,
    severity LowCardinality(String),
    state LowCardinality(String),
    subject Map(LowCardinality(String), String),
    window_start DateTime64(3, 'UTC'),
    window_end DateTime64(3, 'UTC'),
    observed Nullable(Float64),
    baseline Nullable(Float64),
    threshold Nullable(Float64),
    ratio Nullable(Float64),
    unit LowCardinality(String),
    evidence Array(String),
    why String,
    runbook String,
    opened_at DateTime64(3, 'UTC'),
    detected_at DateTime64(3, 'UTC'),
    record String CODEC(ZSTD(1)) COMMENT 'the published record, as JSON',
    retention_days UInt16 DEFAULT 400,
    retention_date Date32 MATERIALIZED toDate32(opened_at) + retention_days
)
ENGINE = ReplacingMergeTree
PARTITION BY (retention_days, toMonday(opened_at))
ORDER BY (tenant, rule, id, revision)
TTL toDateTime(opened_at) + toIntervalDay(retention_days + 14)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000
COMMENT 'Every revision of every finding; the same revision twice is one.';

CREATE TABLE IF NOT EXISTS {database}.late_events
(
    tenant LowCardinality(String),
    epoch UInt32,
    partition UInt32,
    offset UInt64,
    event_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    late_by_ms UInt64,
    stage LowCardinality(String),
    retention_days UInt16 DEFAULT 90,
    retention_date Date32 MATERIALIZED toDate32(received_at) + retention_days
)
ENGINE = ReplacingMergeTree
PARTITION BY (retention_days, toMonday(received_at))
ORDER BY (tenant, stage, epoch, partition, offset)
TTL toDateTime(received_at) + toIntervalDay(retention_days + 14)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000
COMMENT 'Events behind the allowed lateness, which corrected their window by a revision.';
