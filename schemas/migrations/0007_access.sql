-- Whose tables these are: written once by `migrate`, compared by every process that writes rows.
CREATE TABLE IF NOT EXISTS {database}.installation
(
    environment LowCardinality(String) COMMENT 'staging, prod, ...; empty where there is but one',
    key String COMMENT 'fingerprint of the key root',
    registered_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY registered_at
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Which installation this database belongs to.';

-- Who read text, when and why. The server's own log says it too, but for days only and with all that everybody asked;
-- here it stands for as long as the auditor needs it, without the query.
CREATE TABLE IF NOT EXISTS {database}.text_reads
(
    at DateTime64(6, 'UTC') CODEC(Delta, LZ4) COMMENT 'when the query began',
    user LowCardinality(String),
    reason String COMMENT 'as the reader gave it; empty where nobody asked for one',
    purpose LowCardinality(String) COMMENT 'which command of ours asked; empty for others',
    outcome LowCardinality(String) COMMENT 'begun, done or failed: each query has two rows, unless the server died',
    columns Array(LowCardinality(String)) COMMENT 'of text, with their tables',
    rows UInt64 COMMENT 'that it answered with',
    error_code Int32,
    address String COMMENT 'where the reader was',
    query_id String
)
ENGINE = MergeTree
ORDER BY (at, query_id, outcome)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Reads of text, from the query log.';

-- The log's table is made with its first rows.
SYSTEM FLUSH LOGS;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.text_reads_log TO {database}.text_reads AS
SELECT
    query_start_time_microseconds AS at,
    toString(user) AS user,
    extract(log_comment, 'reason=(.*)') AS reason,
    extract(log_comment, '^tokentrail:(\\w+)') AS purpose,
    multiIf(type = 'QueryStart', 'begun', type = 'QueryFinish', 'done', 'failed') AS outcome,
    arrayFilter(
        name -> match(name, '^{database}\\.(held_)?call_content\\.`?(input|output|tool_calls|other)\\b'), columns
    ) AS columns,
    result_rows AS rows,
    exception_code AS error_code,
    IPv6NumToString(address) AS address,
    query_id
FROM system.query_log
WHERE query_kind = 'Select' AND arrayExists(
    name -> match(name, '^{database}\\.(held_)?call_content\\.`?(input|output|tool_calls|other)\\b'), system.query_log.columns
);
