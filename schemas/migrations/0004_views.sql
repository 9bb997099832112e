-- The questions people ask. Canaries and history sent afterwards are told apart, never hidden in a sum.
CREATE OR REPLACE VIEW {database}.cost_by_tenant AS
SELECT
    toDate(received_at) AS day,
    tenant,
    count() AS calls,
    sum(toDecimal128(calls.cost_usd, 9)) AS cost_usd,
    countIf(calls.cost_usd IS NULL AND cost_source = 'unknown') AS calls_without_price,
    sum(calls.input_tokens) AS input_tokens,
    sum(calls.output_tokens) AS output_tokens,
    countIf(status != 'ok') AS errors,
    countIf(backfill) AS backfilled
FROM {database}.calls
WHERE kind = 'call'
GROUP BY day, tenant;

CREATE OR REPLACE VIEW {database}.cost_by_feature_daily AS
SELECT
    toDate(received_at) AS day,
    tenant,
    feature,
    model,
    count() AS calls,
    sum(toDecimal128(calls.cost_usd, 9)) AS cost_usd,
    countIf(calls.cost_usd IS NULL AND cost_source = 'unknown') AS calls_without_price,
    sum(calls.input_tokens) AS input_tokens,
    sum(calls.output_tokens) AS output_tokens
FROM {database}.calls
WHERE kind = 'call'
GROUP BY day, tenant, feature, model;

CREATE OR REPLACE VIEW {database}.latency_by_model_hourly AS
SELECT
    toStartOfHour(received_at) AS hour,
    tenant,
    provider,
    model,
    count() AS calls,
    round(quantileDD(0.01, 0.5)(latency_ms), 1) AS latency_p50_ms,
    round(quantileDD(0.01, 0.95)(latency_ms), 1) AS latency_p95_ms,
    round(quantileDD(0.01, 0.99)(latency_ms), 1) AS latency_p99_ms,
    round(quantileDD(0.01, 0.95)(ttft_ms), 1) AS ttft_p95_ms,
    countIf(status != 'ok') AS errors
FROM {database}.calls
WHERE kind = 'call'
GROUP BY hour, tenant, provider, model;

-- An event id that was sent twice stands at two positions, and both rows stay: the record is the position. Here each
-- row says at how many positions its id stands. Always ask with `WHERE id = ...`.
CREATE OR REPLACE VIEW {database}.calls_by_id AS
SELECT
    id,
    count() AS positions,
    min((epoch, partition, offset)) AS first_position,
    groupArray(16)((epoch, partition, offset)) AS some_positions,
    any(calls.tenant) AS tenant,
    min(received_at) AS first_received_at,
    any(calls.retention_date) AS retention_date
FROM {database}.calls
WHERE id != ''
GROUP BY id;

-- What producer instances say they have sent, beside what arrived. `missing` is what neither arrived nor was told as
-- refused or dropped; an instance that still runs may have events on their way.
CREATE OR REPLACE VIEW {database}.producer_loss AS
SELECT
    said.tenant AS tenant,
    said.producer AS producer,
    said.library AS library,
    said.emitted AS emitted,
    said.refused AS refused,
    said.dropped AS dropped,
    came.arrived AS arrived,
    came.arrived_twice AS arrived_twice,
    greatest(toInt64(said.last_sequence) + 1 - toInt64(came.arrived), 0) AS missing,
    said.closing AS closed,
    said.last_heard AS last_heard
FROM
(
    SELECT
        tenant,
        producer,
        any(producer_library) AS library,
        max(heartbeats.emitted) AS emitted,
        max(heartbeats.refused) AS refused,
        max(heartbeats.dropped) AS dropped,
        max(coalesce(heartbeats.last_sequence, -1)) AS last_sequence,
        max(heartbeats.closing) AS closing,
        max(received_at) AS last_heard
    FROM {database}.heartbeats
    GROUP BY tenant, producer
) AS said
LEFT JOIN
(
    SELECT
        producer,
        uniqExact(producer_sequence) AS arrived,
        count() - uniqExact(producer_sequence) AS arrived_twice
    FROM
    (
        SELECT producer, producer_sequence FROM {database}.calls
        UNION ALL SELECT producer, producer_sequence FROM {database}.evaluations
        UNION ALL SELECT producer, producer_sequence FROM {database}.feedback
        UNION ALL SELECT producer, producer_sequence FROM {database}.heartbeats
        UNION ALL SELECT producer, producer_sequence FROM {database}.dead_letters
    )
    WHERE producer != '' AND producer_sequence IS NOT NULL
    GROUP BY producer
) AS came USING (producer);

CREATE OR REPLACE VIEW {database}.anomalies_now AS
SELECT * FROM {database}.anomalies
ORDER BY revision DESC
LIMIT 1 BY tenant, id;
