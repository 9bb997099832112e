-- What was done for each request to erase, step by step. No pseudonym: what is kept of one is a keyed hash.
CREATE TABLE IF NOT EXISTS {database}.erasures
(
    request String,
    tenant LowCardinality(String),
    kind LowCardinality(String) COMMENT 'user, run or id',
    asked_at DateTime64(3, 'UTC') COMMENT 'append time of the request at the broker',
    asked_by String,
    reason String,
    step LowCardinality(String) COMMENT 'found, first, again or done',
    at DateTime64(3, 'UTC') COMMENT 'when the step was finished',
    due_at DateTime64(3, 'UTC') COMMENT 'when Kafka will have forgotten the subject',
    rows Map(LowCardinality(String), UInt64) COMMENT 'changed or removed, by table',
    held UInt64 COMMENT 'rows that a legal hold keeps',
    not_cleared Array(String) COMMENT 'logs of the server that it did not let us clear',
    batches Array(Tuple(partition UInt32, ledger_offset UInt64)) COMMENT 'ledger records that name what was changed',
    related Array(String) COMMENT 'keyed hashes of the runs, sessions, traces and ids of what was changed',
    engine String COMMENT 'what did it'
)
ENGINE = MergeTree
ORDER BY (request, at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Receipts of erasures. Kept for ever.';
