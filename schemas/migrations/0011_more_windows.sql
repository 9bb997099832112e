-- Windows say how long runs took; findings say whether their rule is only being tried out; and for each key and rule
-- there is a row that says since when it is judged, or what is missing for that.
ALTER TABLE {database}.windows
    ADD COLUMN IF NOT EXISTS run_p50_ms Nullable(Float64) COMMENT 'of the durations of runs that ended' AFTER ttft_p99_ms,
    ADD COLUMN IF NOT EXISTS run_p95_ms Nullable(Float64) AFTER run_p50_ms,
    ADD COLUMN IF NOT EXISTS run_p99_ms Nullable(Float64) AFTER run_p95_ms;
ALTER TABLE {database}.held_windows
    ADD COLUMN IF NOT EXISTS run_p50_ms Nullable(Float64) COMMENT 'of the durations of runs that ended' AFTER ttft_p99_ms,
    ADD COLUMN IF NOT EXISTS run_p95_ms Nullable(Float64) AFTER run_p50_ms,
    ADD COLUMN IF NOT EXISTS run_p99_ms Nullable(Float64) AFTER run_p95_ms;

ALTER TABLE {database}.anomalies
    ADD COLUMN IF NOT EXISTS shadow Bool DEFAULT false COMMENT 'its rule is being tried out, and nobody was told'
    AFTER detected_at;
ALTER TABLE {database}.held_anomalies
    ADD COLUMN IF NOT EXISTS shadow Bool DEFAULT false COMMENT 'its rule is being tried out, and nobody was told'
    AFTER detected_at;
-- A view knows the columns that its table had when it was made.
CREATE OR REPLACE VIEW {database}.anomalies_now AS
SELECT * FROM {database}.anomalies
ORDER BY revision DESC
LIMIT 1 BY tenant, id;

CREATE TABLE IF NOT EXISTS {database}.standings
(
    tenant LowCardinality(String),
    dimension LowCardinality(String),
    subject Map(LowCardinality(String), String),
    subject_key String COMMENT 'the subject as one text, for identity',
    rule LowCardinality(String),
    judged Bool COMMENT 'false: there is too little to judge by',
    since DateTime64(3, 'UTC') COMMENT 'since when this is so, event time',
    have Float64 COMMENT 'of what the rule needs, what there is',
    need Float64,
    unit LowCardinality(String) COMMENT 'hours or calls',
    retention_days UInt16 DEFAULT 400,
    retention_date Date32 MATERIALIZED toDate32(since) + retention_days
)
ENGINE = ReplacingMergeTree(since)
PARTITION BY (retention_days, toMonday(since))
ORDER BY (tenant, rule, dimension, subject_key, since)
TTL toDateTime(since) + toIntervalDay(retention_days + 14)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000
COMMENT 'For each key and rule, since when it is judged, or since when there is too little for that.';
