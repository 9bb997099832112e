-- What became of records afterwards: processed again under a new position, or priced by another book. Both have their
-- own rows, chained like all others; the rows they are about stay as they are.
CREATE TABLE IF NOT EXISTS {database}.replays
(
    epoch UInt32 CODEC(Delta, LZ4) COMMENT 'the new position',
    partition UInt32 CODEC(Delta, LZ4),
    offset UInt64 CODEC(Delta, LZ4),
    tenant LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta, LZ4) COMMENT 'when the broker took the replayed record',
    retention_days UInt16,
    of_epoch UInt32 COMMENT 'the position that it stands for',
    of_partition UInt32,
    of_offset UInt64,
    of_received_at DateTime64(3, 'UTC') COMMENT 'when the broker took that one',
    seal FixedString(16) COMMENT 'keyed hash of the rest of the row',
    retention_date Date32 MATERIALIZED toDate32(received_at) + retention_days,
    INDEX by_position (epoch, partition, offset) TYPE minmax GRANULARITY 1,
    INDEX by_origin (of_epoch, of_partition, of_offset) TYPE minmax GRANULARITY 1,
    CONSTRAINT before_deadline CHECK toUnixTimestamp64Milli(nowInBlock64(3))
        <= ifNull(toInt64OrNull(extract(getSetting('log_comment'), 'deadline=([0-9]+)')), 9000000000000)
)
ENGINE = MergeTree
PARTITION BY (retention_days, toMonday(received_at))
ORDER BY (tenant, epoch, partition, offset)
TTL toDateTime(received_at) + toIntervalDay(retention_days + 14)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Records that were processed again, and what they stand for.';

-- Identity and life are those of the call, so that both end together. Of several repricings the highest number counts.
CREATE TABLE IF NOT EXISTS {database}.repricings
(
    epoch UInt32 CODEC(Delta, LZ4) COMMENT 'position of the call',
    partition UInt32 CODEC(Delta, LZ4),
    offset UInt64 CODEC(Delta, LZ4),
    tenant LowCardinality(String),
    received_at DateTime64(3, 'UTC') CODEC(Delta, LZ4) COMMENT 'of the call',
    retention_days UInt16 COMMENT 'of the call',
    repricing UInt64 COMMENT 'number in the ledger of this partition',
    repriced_at DateTime64(3, 'UTC'),
    cost_before_usd Nullable(Decimal(18, 9)) COMMENT 'what counted until then',
    cost_usd Nullable(Decimal(18, 9)),
    list_cost_usd Nullable(Decimal(18, 9)),
    cost_source LowCardinality(String),
    price_version LowCardinality(String),
    seal FixedString(16) COMMENT 'keyed hash of the rest of the row',
    retention_date Date32 MATERIALIZED toDate32(received_at) + retention_days,
    INDEX by_position (epoch, partition, offset) TYPE minmax GRANULARITY 1,
    CONSTRAINT before_deadline CHECK toUnixTimestamp64Milli(nowInBlock64(3))
        <= ifNull(toInt64OrNull(extract(getSetting('log_comment'), 'deadline=([0-9]+)')), 9000000000000)
)
ENGINE = MergeTree
PARTITION BY (retention_days, toMonday(received_at))
ORDER BY (tenant, epoch, partition, offset, repricing)
TTL toDateTime(received_at) + toIntervalDay(retention_days + 14)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What calls cost by a later price book. The calls themselves keep what they were first taken to cost.';

CREATE OR REPLACE VIEW {database}.calls_priced AS
SELECT
    calls.* EXCEPT (cost_usd, list_cost_usd, cost_source, price_version),
    if(later.repricing > 0, later.cost_usd, calls.cost_usd) AS cost_usd,
    if(later.repricing > 0, later.list_cost_usd, calls.list_cost_usd) AS list_cost_usd,
    if(later.repricing > 0, later.cost_source, calls.cost_source) AS cost_source,
    if(later.repricing > 0, later.price_version, calls.price_version) AS price_version,
    calls.cost_usd AS first_cost_usd,
    later.repricing > 0 AS is_repriced
FROM {database}.calls AS calls
LEFT JOIN
(
    SELECT tenant, epoch, partition, offset, repricing, cost_usd, list_cost_usd, cost_source, price_version
    FROM {database}.repricings
    ORDER BY repricing DESC
    LIMIT 1 BY tenant, epoch, partition, offset
) AS later
ON calls.tenant = later.tenant AND calls.epoch = later.epoch AND calls.partition = later.partition
    AND calls.offset = later.offset;

CREATE OR REPLACE VIEW {database}.cost_by_tenant_repriced AS
SELECT
    toDate(received_at) AS day,
    tenant,
    count() AS calls,
    sum(toDecimal128(priced.cost_usd, 9)) AS cost_usd,
    sum(toDecimal128(priced.first_cost_usd, 9)) AS first_cost_usd,
    countIf(is_repriced) AS repriced,
    countIf(priced.cost_usd IS NULL AND cost_source = 'unknown') AS calls_without_price
FROM {database}.calls_priced AS priced
WHERE kind = 'call'
GROUP BY day, tenant;

CREATE OR REPLACE VIEW {database}.cost_by_feature_daily_repriced AS
SELECT
    toDate(received_at) AS day,
    tenant,
    feature,
    model,
    count() AS calls,
    sum(toDecimal128(priced.cost_usd, 9)) AS cost_usd,
    sum(toDecimal128(priced.first_cost_usd, 9)) AS first_cost_usd,
    countIf(is_repriced) AS repriced,
    countIf(priced.cost_usd IS NULL AND cost_source = 'unknown') AS calls_without_price
FROM {database}.calls_priced AS priced
WHERE kind = 'call'
GROUP BY day, tenant, feature, model;

-- A dead letter stays for ever as it is; here it says what became of its record. A replay may be a dead letter again.
CREATE OR REPLACE VIEW {database}.dead_letters_now AS
SELECT
    letter.tenant AS tenant,
    letter.epoch AS epoch,
    letter.partition AS partition,
    letter.offset AS offset,
    letter.received_at AS received_at,
    letter.reason AS reason,
    letter.path AS path,
    letter.size_bytes AS size_bytes,
    letter.producer AS producer,
    multiIf(again.epoch > 0, 'dead again', made.epoch > 0, 'healed', 'not replayed') AS outcome,
    if(made.epoch > 0, concat(toString(made.epoch), '/', toString(made.partition), '/', toString(made.offset)), '')
        AS replayed_as
FROM {database}.dead_letters AS letter
LEFT JOIN
(
    SELECT of_epoch, of_partition, of_offset, epoch, partition, offset
    FROM {database}.replays
    ORDER BY epoch DESC, offset DESC
    LIMIT 1 BY of_epoch, of_partition, of_offset
) AS made
ON letter.epoch = made.of_epoch AND letter.partition = made.of_partition AND letter.offset = made.of_offset
LEFT JOIN {database}.dead_letters AS again
ON made.epoch = again.epoch AND made.partition = again.partition AND made.offset = again.offset;
