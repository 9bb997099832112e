-- What makes the tables provable: a seal in every row, and a copy of the ledger beside the rows it speaks of.
ALTER TABLE {database}.calls ADD COLUMN IF NOT EXISTS seal FixedString(16)
    COMMENT 'keyed hash of the rest of the row (text by its commitment)';
ALTER TABLE {database}.call_content ADD COLUMN IF NOT EXISTS seal FixedString(16)
    COMMENT 'keyed hash of the rest of the row (text by its commitment)';
ALTER TABLE {database}.evaluations ADD COLUMN IF NOT EXISTS seal FixedString(16)
    COMMENT 'keyed hash of the rest of the row (text by its commitment)';
ALTER TABLE {database}.feedback ADD COLUMN IF NOT EXISTS seal FixedString(16)
    COMMENT 'keyed hash of the rest of the row (text by its commitment)';
ALTER TABLE {database}.heartbeats ADD COLUMN IF NOT EXISTS seal FixedString(16)
    COMMENT 'keyed hash of the rest of the row (text by its commitment)';
ALTER TABLE {database}.dead_letters ADD COLUMN IF NOT EXISTS seal FixedString(16)
    COMMENT 'keyed hash of the rest of the row (text by its commitment)';

-- llm.ledger, record by record: the log in Kafka is the truth, and this is what an auditor can ask without Kafka.
CREATE TABLE IF NOT EXISTS {database}.ledger
(
    partition UInt32,
    ledger_offset UInt64,
    appended_at DateTime64(3, 'UTC') CODEC(Delta, LZ4),
    writer String COMMENT 'who wrote it',
    steps LowCardinality(String) COMMENT 'done, intent, expiring, ...: joined by a plus sign',
    verdict LowCardinality(String) COMMENT 'accepted, or why the fold rejects it',
    range Nullable(UInt64) COMMENT 'number of the announced range',
    epoch Nullable(UInt32),
    first Nullable(UInt64) COMMENT 'source offsets of it',
    next Nullable(UInt64),
    rows UInt64 COMMENT 'that it announces',
    head FixedString(64) COMMENT 'of the chain after it, hexadecimal',
    value String CODEC(ZSTD(3)) COMMENT 'the record as it stands in Kafka',
    seal FixedString(16) COMMENT 'keyed hash of place, value and head'
)
ENGINE = ReplacingMergeTree
ORDER BY (partition, ledger_offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What was announced, done, dropped, erased and signed. Kept for ever.';
