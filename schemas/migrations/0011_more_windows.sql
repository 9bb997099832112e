-- Windows say how long runs took; findings say whether their rule is only being tried out.
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
