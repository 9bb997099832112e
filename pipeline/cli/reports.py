"""The named reports of `tokentrail query`, as data: a line of help, SQL with parameters, and how columns are read.

Values reach ClickHouse as parameters of the query, never as part of its text. Times are event time: the producer's
clock, but never ahead of the broker's; `received_at` alone decides which partitions are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pipeline.cli.formats import Unit

# What a report may be grouped by.
DIMENSIONS: Final = (
    "tenant", "feature", "model", "provider", "user", "team", "service", "environment", "run", "prompt_name",
    "day", "hour",
)  # fmt: skip

_EVENT_TIME: Final = "least(ts, received_at)"
_CALLS: Final = f"""(
    SELECT *, {_EVENT_TIME} AS at, toString(toDate(at)) AS day, formatDateTime(at, '%Y-%m-%dT%H:00Z') AS hour
    FROM calls
    WHERE kind = 'call'
        AND received_at >= fromUnixTimestamp64Milli({{since_ms:Int64}}, 'UTC')
        AND {_EVENT_TIME} >= fromUnixTimestamp64Milli({{since_ms:Int64}}, 'UTC')
        AND ({{tenant:String}} = '' OR tenant = {{tenant:String}})
) AS one"""
# Days and hours in their order, everything else by the measure that follows.
_BY_TIME: Final = "if({by:String} IN ('day', 'hour'), toString({by:Identifier}), '')"


@dataclass(frozen=True)
class Report:
    """One named report.

    Attributes:
        help: One line on what it answers.
        sql: Uses `{since_ms:Int64}`, `{tenant:String}`, `{limit:UInt64}` and, where it is grouped, `{by:Identifier}`.
        by: What it is grouped by unless `--by` says otherwise; None where it is not grouped.
        units: How columns are read.
    """

    help: str
    sql: str
    by: str | None = None
    units: Mapping[str, Unit] = field(default_factory=dict)


REPORTS: Final[Mapping[str, Report]] = {
    "cost": Report(
        "What calls cost, by tenant or whatever --by names.",
        f"""SELECT
            {{by:Identifier}},
            count() AS calls,
            sum(toDecimal128(one.cost_usd, 9)) AS cost_usd,
            countIf(one.cost_usd IS NULL AND cost_source = 'unknown') AS calls_without_price,
            sum(one.input_tokens) AS input_tokens,
            sum(one.output_tokens) AS output_tokens,
            countIf(status != 'ok') AS errors
        FROM {_CALLS}
        GROUP BY {{by:Identifier}}
        ORDER BY {_BY_TIME}, cost_usd DESC NULLS LAST, calls DESC, toString({{by:Identifier}})
        LIMIT {{limit:UInt64}}""",
        "tenant",
        {
            "calls": "count",
            "cost_usd": "money",
            "calls_without_price": "count",
            "input_tokens": "count",
            "output_tokens": "count",
            "errors": "count",
        },
    ),
    "tokens": Report(
        "Tokens in and out, how many of them cached, by tenant or whatever --by names.",
        f"""SELECT
            {{by:Identifier}},
            count() AS calls,
            sum(one.input_tokens) AS input_tokens,
            sum(one.cached_tokens) AS cached_tokens,
            sum(one.cached_tokens) / nullIf(sum(one.input_tokens), 0) AS cached_share,
            sum(one.output_tokens) AS output_tokens,
            sum(one.reasoning_tokens) AS reasoning_tokens,
            avg(one.input_tokens + one.output_tokens) AS tokens_a_call
        FROM {_CALLS}
        GROUP BY {{by:Identifier}}
        ORDER BY {_BY_TIME}, input_tokens + output_tokens DESC NULLS LAST, calls DESC, toString({{by:Identifier}})
        LIMIT {{limit:UInt64}}""",
        "tenant",
        {
            "calls": "count",
            "input_tokens": "count",
            "cached_tokens": "count",
            "cached_share": "share",
            "output_tokens": "count",
            "reasoning_tokens": "count",
            "tokens_a_call": "count",
        },
    ),
    "latency": Report(
        "How long calls take and how soon they begin to answer, by model or whatever --by names.",
        f"""SELECT
            {{by:Identifier}},
            count() AS calls,
            quantileDD(0.01, 0.5)(latency_ms) AS p50,
            quantileDD(0.01, 0.95)(latency_ms) AS p95,
            quantileDD(0.01, 0.99)(latency_ms) AS p99,
            quantileDD(0.01, 0.5)(ttft_ms) AS ttft_p50,
            quantileDD(0.01, 0.95)(ttft_ms) AS ttft_p95,
            countIf(status != 'ok') AS errors
        FROM {_CALLS}
        WHERE latency_ms IS NOT NULL
        GROUP BY {{by:Identifier}}
        ORDER BY {_BY_TIME}, calls DESC, toString({{by:Identifier}})
        LIMIT {{limit:UInt64}}""",
        "model",
        {
            "calls": "count",
            "p50": "ms",
            "p95": "ms",
            "p99": "ms",
            "ttft_p50": "ms",
            "ttft_p95": "ms",
            "errors": "count",
        },
    ),
    "slowest": Report(
        "The slowest calls, one by one.",
        f"""SELECT
            at, latency_ms, ttft_ms, tenant, feature, model, input_tokens, output_tokens, status, cost_usd, id
        FROM {_CALLS}
        WHERE latency_ms IS NOT NULL
        ORDER BY latency_ms DESC, at
        LIMIT {{limit:UInt64}}""",
        None,
        {
            "at": "time",
            "latency_ms": "ms",
            "ttft_ms": "ms",
            "input_tokens": "count",
            "output_tokens": "count",
            "cost_usd": "money",
        },
    ),
    "errors": Report(
        "Calls that did not end well, with their share of all calls of that tenant and model.",
        f"""SELECT * FROM (
            SELECT
                tenant, provider, model, status, error_type, http_status,
                count() AS calls,
                count() / sum(count()) OVER (PARTITION BY tenant, provider, model) AS share,
                max(at) AS last_at
            FROM {_CALLS}
            GROUP BY tenant, provider, model, status, error_type, http_status
        )
        WHERE status != 'ok'
        ORDER BY calls DESC, tenant, provider, model, status
        LIMIT {{limit:UInt64}}""",
        None,
        {"calls": "count", "share": "share", "last_at": "time"},
    ),
    "anomalies": Report(
        "Findings with their latest revision, newest first.",
        """SELECT detected_at, severity, tier, rule, state, tenant, ratio, why, subject, id
        FROM (SELECT * FROM anomalies ORDER BY revision DESC LIMIT 1 BY tenant, id)
        WHERE detected_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
            AND ({tenant:String} = '' OR tenant = {tenant:String})
        ORDER BY detected_at DESC, id
        LIMIT {limit:UInt64}""",
        None,
        {"detected_at": "time", "ratio": "ratio"},
    ),
    "loss": Report(
        "What producers say they have sent, beside what arrived.",
        """SELECT
            tenant, producer, library, emitted, refused, dropped, arrived, arrived_twice, missing, closed, last_heard
        FROM producer_loss
        WHERE last_heard >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
            AND ({tenant:String} = '' OR tenant = {tenant:String})
        ORDER BY missing DESC, dropped + refused DESC, last_heard DESC
        LIMIT {limit:UInt64}""",
        None,
        {
            "emitted": "count",
            "refused": "count",
            "dropped": "count",
            "arrived": "count",
            "arrived_twice": "count",
            "missing": "count",
            "closed": "flag",
            "last_heard": "time",
        },
    ),
    "dead-letters": Report(
        "Records that could not be used, and why; never their text.",
        """SELECT
            tenant, reason, path, producer,
            count() AS records,
            sum(size_bytes) AS bytes,
            min(received_at) AS first_at,
            max(received_at) AS last_at
        FROM dead_letters
        WHERE received_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
            AND ({tenant:String} = '' OR tenant = {tenant:String})
        GROUP BY tenant, reason, path, producer
        ORDER BY records DESC, reason, path
        LIMIT {limit:UInt64}""",
        None,
        {"records": "count", "bytes": "size", "first_at": "time", "last_at": "time"},
    ),
}
