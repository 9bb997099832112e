"""What calls cost, by whatever tells them apart: the queries behind `cost`, `budget show` and `digest`, and their sums.

Times are event time, as budgets count it. Amounts are the first price of each call, which is what budgets saw; reprice
makes others beside it. History that was sent afterwards counts in what was spent, and not in forecasts. Values reach
ClickHouse as parameters, never as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from pipeline.control.budgets import NANO
from pipeline.errors import UsageError
from pipeline.pricing import PriceBook
from schemas.event import Usage

if TYPE_CHECKING:
    from pipeline.cli.reader import Reader

DIMENSIONS: Final = ("tenant", "team", "feature", "user", "model", "environment", "provider", "service", "prompt_name")
HOUR_MS: Final = 3_600_000

_WHERE: Final = """
    kind = 'call'
        AND received_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
        AND least(ts, received_at) >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
        AND least(ts, received_at) < fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC')
"""
_MODELS: Final = """
    SELECT {dims}, provider, model, response_model, toStartOfHour(least(ts, received_at)) AS hour,
        count() AS calls,
        sum(toDecimal128(calls.cost_usd, 9)) AS cost_usd,
        countIf(isNull(calls.cost_usd) AND cost_source = 'unknown') AS without_price,
        sum(calls.input_tokens) AS input_tokens, sum(calls.cached_tokens) AS cached_tokens,
        sum(calls.cache_write_tokens) AS cache_write_tokens, sum(calls.output_tokens) AS output_tokens,
        sum(calls.reasoning_tokens) AS reasoning_tokens
    FROM calls WHERE {where}
    GROUP BY {dims}, provider, model, response_model, hour
"""
_HOURS: Final = """
    SELECT {dims}, toInt64(toUnixTimestamp(toStartOfHour(least(ts, received_at)))) DIV 3600 AS hour,
        sum(toDecimal128(calls.cost_usd, 9)) AS cost_usd
    FROM calls WHERE NOT backfill AND {where}
    GROUP BY {dims}, hour HAVING isNotNull(cost_usd) ORDER BY hour
"""


@dataclass
class Spending:
    """What was spent on one thing.

    Attributes:
        names: What it is, by dimension.
        calls: Calls.
        nano_usd: Cost of those whose price is known.
        without_price: Calls whose price is unknown.
        input_tokens: Cached ones included.
        cached_tokens: Of the input.
        output_tokens: Reasoning ones included.
        reasoning_tokens: Of the output.
        saved_nano_usd: What caching spared by list prices; negative where writing caches cost more than it brought.
        unsaved: Calls with cached tokens whose model's price is unknown, so that what they spared is missing.
    """

    names: dict[str, str]
    calls: int = 0
    nano_usd: int = 0
    without_price: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    saved_nano_usd: int = 0
    unsaved: int = 0


@dataclass(frozen=True)
class Range:
    """A stretch of event time in milliseconds, and whose calls."""

    since_ms: int
    until_ms: int
    only: Mapping[str, str] = field(default_factory=dict)


def dimensions(text: str) -> tuple[str, ...]:
    """The dimensions that `--by` names.

    Raises:
        UsageError: One that there is not.
    """
    found = tuple(one.strip() for one in text.split(",") if one.strip())
    for one in found:
        if one not in DIMENSIONS:
            raise UsageError(f"Costs are told apart by {', '.join(DIMENSIONS)}, not by {one!r}.")
    return found or ("tenant",)


def spendings(reader: Reader, by: Sequence[str], when: Range, book: PriceBook | None = None) -> list[Spending]:
    """What was spent, the largest first; raises as `Reader.ask` does."""
    book = book or PriceBook()
    answer = reader.ask(*_query(_MODELS, by, when))
    found: dict[tuple[str, ...], Spending] = {}
    for row in answer.rows:
        values = dict(zip(answer.columns, row, strict=True))
        key = tuple(str(values[name]) for name in by)
        one = found.setdefault(key, Spending(dict(zip(by, key, strict=True))))
        _add(one, values, book)
    return sorted(found.values(), key=lambda one: (-one.nano_usd, -one.calls, tuple(one.names.values())))


def hourly(reader: Reader, by: Sequence[str], when: Range) -> dict[tuple[str, ...], dict[int, int]]:
    """Nano-dollars of each hour (hours since 1970), by the values of the dimensions."""
    answer = reader.ask(*_query(_HOURS, by, when))
    found: dict[tuple[str, ...], dict[int, int]] = {}
    for row in answer.rows:
        values = dict(zip(answer.columns, row, strict=True))
        key = tuple(str(values[name]) for name in by)
        hours = found.setdefault(key, {})
        hours[values["hour"]] = hours.get(values["hour"], 0) + nano(values["cost_usd"])
    return found


def matching(
    hours: Mapping[tuple[str, ...], Mapping[int, int]], by: Sequence[str], only: Mapping[str, str]
) -> dict[int, int]:
    """The hours of everything that a selector names, added up."""
    total: dict[int, int] = {}
    for key, known in hours.items():
        named = dict(zip(by, key, strict=True))
        if all(named.get(name) == value for name, value in only.items()):
            for hour, cost in known.items():
                total[hour] = total.get(hour, 0) + cost
    return total


def nano(usd: Decimal | float | None) -> int:
    """Nano-dollars of a sum in dollars."""
    return 0 if usd is None else int((usd if isinstance(usd, Decimal) else Decimal(str(usd))) * NANO)


def _query(sql: str, by: Iterable[str], when: Range) -> tuple[str, dict[str, Any]]:
    dims = ", ".join(f"calls.{name} AS {name}" for name in by)
    where = [_WHERE]
    values: dict[str, Any] = {"since_ms": when.since_ms, "until_ms": when.until_ms}
    for name, value in when.only.items():
        assert name in DIMENSIONS
        where.append(f"AND calls.{name} = {{only_{name}:String}}")
        values[f"only_{name}"] = value
    grouped = sql.replace("GROUP BY {dims}", "GROUP BY " + ", ".join(by))
    return grouped.replace("{dims}", dims).replace("{where}", " ".join(where)), values


def _add(one: Spending, values: Mapping[str, Any], book: PriceBook) -> None:
    one.calls += values["calls"]
    one.nano_usd += nano(values["cost_usd"])
    one.without_price += values["without_price"]
    for name in ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"):
        setattr(one, name, getattr(one, name) + (values[name] or 0))
    if values["cached_tokens"] or values["cache_write_tokens"]:
        usage = Usage(
            values["input_tokens"], values["cached_tokens"], values["cache_write_tokens"], values["output_tokens"]
        )
        provider, model, answered = (values[name] or None for name in ("provider", "model", "response_model"))
        at_ms = int(values["hour"].timestamp() * 1000)
        saved = book.saved(provider, model, answered, usage, at_ms, values["calls"])
        if saved is None:
            one.unsaved += values["calls"]
        else:
            one.saved_nano_usd += saved
