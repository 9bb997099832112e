-- One row a call, without text. Life is the partition: (retention_days, week of receipt); what stands behind it is a TTL
-- with a margin of a week. A record's identity is its position in the raw topic: (epoch, partition, offset).
CREATE TABLE IF NOT EXISTS {database}.calls
(
    epoch UInt32 CODEC(Delta, LZ4) COMMENT 'incarnation of the raw topic',
    partition UInt32 CODEC(Delta, LZ4) COMMENT 'its partition',
    offset UInt64 CODEC(Delta, LZ4) COMMENT 'and the offset there',
    tenant LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta, LZ4) COMMENT 'append time at the broker',
    retention_days UInt16 COMMENT 'life of this row, stamped when it was received',
    id String COMMENT 'id of the event',
    kind LowCardinality(String),
    ts DateTime64(3, 'UTC') CODEC(Delta, LZ4) COMMENT 'clock of the producer',
    backfill Bool,
    environment LowCardinality(String),
    team LowCardinality(String),
    service LowCardinality(String),
    feature LowCardinality(String),
    run String COMMENT 'keyed hash, as are user, session, trace, span and parent',
    step Nullable(UInt64),
    user String,
    session String,
    trace String,
    span String,
    parent String,
    provider LowCardinality(String),
    model LowCardinality(String) COMMENT 'asked for',
    response_model LowCardinality(String) COMMENT 'that answered',
    operation LowCardinality(String),
    prompt_name LowCardinality(String),
    prompt_version LowCardinality(String),
    variant LowCardinality(String),
    parameters Map(LowCardinality(String), Float64),
    streaming Nullable(Bool),
    input_tokens Nullable(UInt64) COMMENT 'with the cached ones',
    cached_tokens Nullable(UInt64),
    cache_write_tokens Nullable(UInt64),
    output_tokens Nullable(UInt64) COMMENT 'with the reasoning ones',
    reasoning_tokens Nullable(UInt64),
    latency_ms Nullable(Float64),
    ttft_ms Nullable(Float64),
    retries Nullable(UInt64),
    cache_hit Nullable(Bool),
    prompt_size_bytes Nullable(UInt64),
    output_chars Nullable(UInt64),
    input_messages UInt64,
    status LowCardinality(String),
    finish_reason LowCardinality(String),
    error_type LowCardinality(String),
    http_status Nullable(UInt16),
    retry_after_s Nullable(Float64),
    schema_valid Nullable(Bool),
    output_label LowCardinality(String),
    refusal Nullable(Bool),
    guardrails Array(LowCardinality(String)) COMMENT 'that were triggered',
    guardrails_triggered Nullable(UInt64),
    tool_names Array(LowCardinality(String)),
    tool_errors UInt64,
    tag_keys Array(LowCardinality(String)),
    retrieval_requested Nullable(UInt64),
    retrieval_hits Nullable(UInt64),
    retrieval_sources Array(String) COMMENT 'keyed hashes',
    cost_usd Nullable(Decimal(18, 9)) COMMENT 'NULL: no price is known',
    list_cost_usd Nullable(Decimal(18, 9)),
    cost_source LowCardinality(String),
    price_version LowCardinality(String),
    language LowCardinality(String),
    length_bucket Nullable(Int64),
    topic_bucket Nullable(Int64) COMMENT 'keyed',
    content_mode LowCardinality(String) COMMENT 'full, hash or none',
    content_commitment FixedString(32) COMMENT 'salted SHA-256 of the text in call_content; zeros where none is kept',
    text_days UInt16 COMMENT 'life of the text',
    redactions Map(LowCardinality(String), UInt64) COMMENT 'replacements by type',
    redaction_failures Map(LowCardinality(String), UInt64) COMMENT 'texts replaced whole, by reason',
    dropped_fields UInt64 COMMENT 'outside the allow-list',
    policy_version UInt64,
    redaction_version LowCardinality(String),
    key_version UInt64,
    producer LowCardinality(String) COMMENT 'instance, keyed hash',
    producer_sequence Nullable(UInt64),
    producer_library LowCardinality(String),
    retention_date Date32 MATERIALIZED toDate32(received_at) + retention_days COMMENT 'kept until the end of this day at least',
    INDEX by_position (epoch, partition, offset) TYPE minmax GRANULARITY 1,
    INDEX by_id id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_trace trace TYPE bloom_filter(0.01) GRANULARITY 1,
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
COMMENT 'One row a call: who, what, how much, how it ended. No text.';

-- Redacted text, apart from the rest: its own grants, its own and shorter life. The salt lives and dies with the text;
-- the commitment is what the hash chain holds.
CREATE TABLE IF NOT EXISTS {database}.call_content
(
    epoch UInt32 CODEC(Delta, LZ4),
    partition UInt32 CODEC(Delta, LZ4),
    offset UInt64 CODEC(Delta, LZ4),
    tenant LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta, LZ4),
    retention_days UInt16 COMMENT 'life of the text',
    id String,
    commitment FixedString(32) COMMENT 'SHA-256 over salt and text',
    salt FixedString(16),
    input String CODEC(ZSTD(1)),
    output String CODEC(ZSTD(1)),
    tool_calls String CODEC(ZSTD(1)),
    other Map(String, String) CODEC(ZSTD(1)) COMMENT 'small texts by path (error.message, feedback.comment, ...)',
    retention_date Date32 MATERIALIZED toDate32(received_at) + retention_days,
    INDEX by_position (epoch, partition, offset) TYPE minmax GRANULARITY 1,
    CONSTRAINT before_deadline CHECK toUnixTimestamp64Milli(nowInBlock64(3))
        <= ifNull(toInt64OrNull(extract(getSetting('log_comment'), 'deadline=([0-9]+)')), 9000000000000)
)
ENGINE = MergeTree
PARTITION BY (retention_days, toMonday(received_at))
ORDER BY (tenant, epoch, partition, offset)
TTL toDateTime(received_at) + toIntervalDay(retention_days + 14)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Redacted text of calls, feedback and evaluations.';
