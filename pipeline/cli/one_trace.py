"""`tokentrail query trace`: the calls of one trace, each beside comparable calls of others, and a verdict."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli.output import console, table, write_json
from pipeline.cli.verdict import Spread, TracedCall, cause, outside_ms, verdict

if TYPE_CHECKING:
    from pipeline.cli.formats import Unit
    from pipeline.cli.output import Form
    from pipeline.cli.reader import Reader

MOST_CALLS: Final = 1_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

# `trace` is stored as a keyed hash; a hash out of another report is taken as well.
_CALLS: Final = """
    SELECT
        toUnixTimestamp64Milli(least(ts, received_at)) AS end_ms,
        model, user, latency_ms, ttft_ms, input_tokens, output_tokens, status, feature, id
    FROM calls
    WHERE kind = 'call' AND tenant = {tenant:String} AND trace IN {traces:Array(String)} AND latency_ms IS NOT NULL
    ORDER BY end_ms, epoch, partition, offset
"""
# Others: neither this trace nor this user. Hours stand for themselves, the week before the trace for what is usual.
_OTHERS: Final = """
    SELECT
        model,
        if(at_ms < {begin_ms:Int64}, 0, at_ms - at_ms % 3600000) AS hour_ms,
        count(),
        quantileDD(0.01, 0.5)(latency_ms),
        quantileDD(0.01, 0.95)(latency_ms),
        quantileDD(0.01, 0.5)(output_tokens)
    FROM
    (
        SELECT model, latency_ms, output_tokens, toUnixTimestamp64Milli(least(ts, received_at)) AS at_ms
        FROM calls
        WHERE kind = 'call' AND model IN {models:Array(String)} AND latency_ms IS NOT NULL
            AND received_at >= fromUnixTimestamp64Milli({week_ms:Int64}, 'UTC')
            AND least(ts, received_at) >= fromUnixTimestamp64Milli({week_ms:Int64}, 'UTC')
            AND least(ts, received_at) < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')
            AND NOT (tenant = {tenant:String} AND trace IN {traces:Array(String)})
            AND NOT (tenant = {tenant:String} AND user != '' AND user = {user:String})
    )
    GROUP BY model, hour_ms
"""
# This user's other calls, a day around the trace.
_OWN: Final = """
    SELECT
        model,
        count(),
        quantileDD(0.01, 0.5)(latency_ms),
        quantileDD(0.01, 0.95)(latency_ms),
        quantileDD(0.01, 0.5)(output_tokens)
    FROM calls
    WHERE kind = 'call' AND tenant = {tenant:String} AND user = {user:String}
        AND model IN {models:Array(String)} AND latency_ms IS NOT NULL AND trace NOT IN {traces:Array(String)}
        AND received_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        AND least(ts, received_at) BETWEEN fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
            AND fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    GROUP BY model
"""

_COLUMNS: Final[dict[str, Unit]] = {
    "ended_at": "time",
    "model": "text",
    "took": "ms",
    "ttft": "ms",
    "others_p50": "ms",
    "others_p95": "ms",
    "usual_p50": "ms",
    "this_user_p50": "ms",
    "output_tokens": "count",
    "status": "text",
    "reading": "text",
    "id": "text",
}


def show_trace(reader: Reader, trace: str, tenant: str, how: Form) -> bool:
    """Print a trace with its verdict; False when there is no such trace.

    Raises:
        UsageError: The key store cannot be read (trace ids are stored as keyed hashes), or the user may not read calls.
    """
    rows, calls = traced(reader, trace, tenant)
    if not calls:
        print(f"No call of {tenant} with a latency has the trace {trace}.", file=sys.stderr)
        return False
    said = verdict(calls)
    total_ms, idle_ms = outside_ms(calls)
    lines = [_line(row, call) for row, call in zip(rows, calls, strict=True)]
    if how == "json":
        write_json(
            {
                "trace": trace, "tenant": tenant, "verdict": said, "total_ms": total_ms, "outside_ms": idle_ms,
                "calls": [dict(zip(_COLUMNS, line, strict=True)) for line in lines],
            }
        )  # fmt: skip
    else:
        table(list(_COLUMNS), lines, _COLUMNS)
        console().print(said)
    return True


def traced(reader: Reader, trace: str, tenant: str) -> tuple[list[tuple[Any, ...]], list[TracedCall]]:
    """(rows as asked for, calls with what they are compared with) of a trace, in order of time."""
    traces = [trace, hashed(reader, tenant, trace)]
    rows = reader.ask(_CALLS, {"tenant": tenant, "traces": traces}, MOST_CALLS).rows
    if not rows:
        return [], []
    begin_ms = int(min(row[0] - row[3] for row in rows))
    end_ms = max(row[0] for row in rows)
    user = next((row[2] for row in rows if row[2]), "")
    values = {
        "tenant": tenant,
        "traces": traces,
        "user": user,
        "models": sorted({row[1] for row in rows}),
        # Hours that the trace touches stand for themselves from their beginning on.
        "begin_ms": begin_ms - begin_ms % HOUR_MS,
        "end_ms": end_ms - end_ms % HOUR_MS + HOUR_MS,
        "week_ms": max(0, begin_ms - 7 * DAY_MS),
        "from_ms": max(0, begin_ms - DAY_MS),
        "to_ms": end_ms + DAY_MS,
    }
    others = {(row[0], row[1]): Spread(*row[2:]) for row in reader.ask(_OTHERS, values).rows}
    own = {row[0]: Spread(*row[1:]) for row in reader.ask(_OWN, values).rows} if user else {}
    return rows, [
        TracedCall(
            end_ms=row[0],
            model=row[1],
            latency_ms=row[3],
            output_tokens=row[6],
            others=others.get((row[1], row[0] - row[0] % HOUR_MS), Spread()),
            usual=others.get((row[1], 0), Spread()),
            own=own.get(row[1], Spread()),
        )
        for row in rows
    ]


def hashed(reader: Reader, tenant: str, trace: str) -> str:
    """The keyed hash under which a trace is stored."""
    from pipeline import keys
    from pipeline.intake.identify import Identifiers

    return Identifiers(keys.load(reader.settings), lambda _: True).hashed(tenant, "trace", trace) or ""


def _line(row: tuple[Any, ...], call: TracedCall) -> tuple[Any, ...]:
    reading = {"usual": "as usual", "call": "slow call", "user": "slow user", "model": "slow model", "unknown": "-"}
    return (
        datetime.fromtimestamp(call.end_ms / 1000, UTC),
        call.model,
        call.latency_ms,
        row[4],
        call.others.p50_ms,
        call.others.p95_ms,
        call.usual.p50_ms,
        call.own.p50_ms,
        call.output_tokens,
        row[7],
        reading[cause(call)],
        row[9],
    )
