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

-- What producer instances say they have sent, beside what arrived. A heartbeat carries its own number, so 1 to
-- last_sequence were handed to Kafka; `missing` is what of it did not arrive (or is still on its way).
CREATE OR REPLACE VIEW {database}.producer_loss AS
SELECT
    said.tenant AS tenant,
    said.producer AS producer,
    any(said.library) AS library,
    any(said.emitted) AS emitted,
    any(said.refused) AS refused,
    any(said.dropped) AS dropped,
    any(said.last_sequence) AS sent,
    uniqExactIf(came.producer_sequence, came.producer_sequence <= said.last_sequence) AS arrived,
    any(said.last_sequence) - arrived AS missing,
    count() - uniqExact(came.producer_sequence) AS arrived_twice,
    any(said.closing) AS closed,
    any(said.last_heard) AS last_heard
FROM
(
    SELECT
        tenant,
        producer,
        any(producer_library) AS library,
        max(heartbeats.emitted) AS emitted,
        max(heartbeats.refused) AS refused,
        max(heartbeats.dropped) AS dropped,
        toUInt64(greatest(max(coalesce(heartbeats.last_sequence, 0)), 0)) AS last_sequence,
        max(heartbeats.closing) AS closing,
        max(received_at) AS last_heard
    FROM {database}.heartbeats
    WHERE producer != ''
    GROUP BY tenant, producer
) AS said
INNER JOIN
(
    SELECT producer, assumeNotNull(calls.producer_sequence) AS producer_sequence
    FROM {database}.calls WHERE isNotNull(calls.producer_sequence)
    UNION ALL
    SELECT producer, assumeNotNull(evaluations.producer_sequence) AS producer_sequence
    FROM {database}.evaluations WHERE isNotNull(evaluations.producer_sequence)
    UNION ALL
    SELECT producer, assumeNotNull(feedback.producer_sequence) AS producer_sequence
    FROM {database}.feedback WHERE isNotNull(feedback.producer_sequence)
    UNION ALL
    SELECT producer, assumeNotNull(heartbeats.producer_sequence) AS producer_sequence
    FROM {database}.heartbeats WHERE isNotNull(heartbeats.producer_sequence)
    UNION ALL
    SELECT producer, assumeNotNull(dead_letters.producer_sequence) AS producer_sequence
    FROM {database}.dead_letters WHERE isNotNull(dead_letters.producer_sequence)
) AS came ON said.producer = came.producer
GROUP BY said.tenant, said.producer;

CREATE OR REPLACE VIEW {database}.anomalies_now AS
SELECT * FROM {database}.anomalies
ORDER BY revision DESC
LIMIT 1 BY tenant, id;
