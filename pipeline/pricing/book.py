"""The price book: what a call costs by list price, in integer nano-dollars, and which version of the book said so.

Prices come from the `genai-prices` package, offline, after those of one's own where a file names some. A model that
neither knows costs None, never 0. Linear prices are multiplied here (about 1 us); tiered ones are left to the package
(about 75 us). A test holds both equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final

import msgspec
from genai_prices import Usage as BookUsage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider

from pipeline.pricing.override import RATE_SCALE, Overrides, Rates
from schemas.event import Usage
from schemas.fact import CostSource

NANO: Final = 1_000_000_000
# Prices by the time of day change on these boundaries only (a test holds the book to it): rates are kept for as long.
QUARTER_MS: Final = 900_000
FEMTO_PER_NANO: Final = 10**6
TOKEN_PRICES: Final = ("input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok")
# A price for each request needs no count in the usage; prices of all other things that an event does not count (images,
# audio, searches) cannot change what is computed here.
PER_REQUEST: Final = "requests_kcount"


@dataclass(frozen=True, slots=True)
class Price:
    """What a call costs.

    Attributes:
        cost_nano_usd: What it is taken to cost: the provider's own figure where reported, else the list price.
        list_cost_nano_usd: The list price; None where the model or its usage is unknown.
        source: Where `cost_nano_usd` comes from; `unknown` has usage but no price, `none` has nothing to price.
    """

    cost_nano_usd: int | None
    list_cost_nano_usd: int | None
    source: CostSource


@dataclass(frozen=True, slots=True)
class _Listing:
    provider: Provider
    model: ModelInfo


class PriceBook:
    """Prices of all models the book knows, at a moment.

    Memory: 8,192 resolved models and their rates of 8,192 quarters of an hour at the most, and the package's own
    look-up caches, which are emptied whenever ours turned over once (made-up model names must not fill the memory).

    Args:
        overrides: Prices that come before the book's.
    """

    def __init__(self, overrides: Overrides | None = None) -> None:
        self._overrides = overrides
        self.version = f"genai-prices/{version('genai-prices')}"
        if overrides is not None:
            self.version = f"{overrides.version}+{self.version}"
        self._resolve = lru_cache(maxsize=8_192)(self._look_up)
        self._rates = lru_cache(maxsize=8_192)(self._linear)
        self._misses = 0

    def price(
        self,
        provider: str | None,
        model: str | None,
        response_model: str | None,
        usage: Usage | None,
        reported_usd: float | None,
        at_ms: int,
    ) -> Price:
        """Price one call.

        Args:
            provider: The provider's name as the event says it; None lets the model's name decide.
            model: The model asked for.
            response_model: The model that answered; tried first.
            usage: Tokens; totals include their parts.
            reported_usd: What the provider says it cost, in dollars.
            at_ms: When, milliseconds since 1970; the book has history.
        """
        listed = self._list_price(provider, model, response_model, usage, at_ms)
        if reported_usd is not None:
            return Price(round(reported_usd * NANO), listed, "reported")
        if usage is None or (usage.input is None and usage.output is None):
            return Price(None, None, "none")
        return Price(listed, listed, "unknown" if listed is None else "computed")

    def saved(
        self, provider: str | None, model: str | None, response_model: str | None, usage: Usage, at_ms: int, calls: int
    ) -> int | None:
        """What caching spared calls of one model, in nano-dollars: their list price without cached tokens, less with.

        Writing a cache costs more than reading plain input at some providers, so it can be negative.

        Args:
            provider: As for `price`.
            model: As for `price`.
            response_model: As for `price`.
            usage: Sums over the calls. Prices that depend on a call's size are those of its average call.
            at_ms: When, milliseconds since 1970.
            calls: How many calls, at least one.

        Returns:
            None where the model's price is unknown.
        """
        average = Usage(*(None if count is None else round(count / calls) for count in _counts(usage)))
        if self._is_linear(provider, model, response_model, at_ms):
            average, calls = usage, 1
        plain = msgspec.structs.replace(average, cached=None, cache_write=None)
        without = self._list_price(provider, model, response_model, plain, at_ms)
        with_cache = self._list_price(provider, model, response_model, average, at_ms)
        return None if without is None or with_cache is None else (without - with_cache) * calls

    def _is_linear(self, provider: str | None, model: str | None, response_model: str | None, at_ms: int) -> bool:
        for name in (response_model, model):
            if name is None:
                continue
            if self._overrides is not None and self._overrides.rates(provider, name, at_ms) is not None:
                return True
            if self._resolve(provider, name) is not None:
                return self._rates(provider, name, at_ms // QUARTER_MS) is not None
        return False

    def _list_price(
        self, provider: str | None, model: str | None, response_model: str | None, usage: Usage | None, at_ms: int
    ) -> int | None:
        if usage is None or (usage.input is None and usage.output is None):
            return None
        for name in (response_model, model):
            if name is None:
                continue
            if self._overrides is not None and (own := self._overrides.rates(provider, name, at_ms)) is not None:
                return _multiply(own, usage)
            listing = self._resolve(provider, name)
            if listing is None:
                continue
            quarter = at_ms // QUARTER_MS
            rates = self._rates(provider, name, quarter)
            return _multiply(rates, usage) if rates is not None else _ask_package(listing, usage, quarter)
        return None

    def _look_up(self, provider: str | None, name: str) -> _Listing | None:
        snapshot = get_snapshot()
        self._misses += 1
        if self._misses % 8_192 == 0:
            snapshot._lookup_cache.clear()
            snapshot._provider_cache.clear()
            snapshot._provider_misses.clear()
        attempts: list[tuple[str | None, str]] = [(provider, name)] if provider else []
        attempts.append((None, name))
        prefix, slash, rest = name.partition("/")
        if slash:
            attempts.append((prefix, rest))
            attempts.append((None, rest))
        for provider_id, model_ref in attempts:
            try:
                found_provider, found = snapshot.find_provider_model(model_ref, None, provider_id, None)
            except LookupError:
                # A provider that the book knows and whose model it does not know is an unknown price: another
                # provider's price for a model of that name would be a guess.
                if provider_id == provider and provider is not None and _knows(provider):
                    return None
                continue
            return _Listing(found_provider, found)
        return None

    def _linear(self, provider: str | None, name: str, quarter: int) -> Rates | None:
        listing = self._resolve(provider, name)
        assert listing is not None
        every = {key: value for key, value in vars(_prices_at(listing, quarter)).items() if value is not None}
        prices: dict[str, Any] = {key: every[key] for key in TOKEN_PRICES if key in every}
        if PER_REQUEST in every or not all(isinstance(value, Decimal) for value in prices.values()):
            return None
        base = prices.get("input_mtok", Decimal(0))
        scaled = [
            prices.get(key, default) * RATE_SCALE
            for key, default in zip(TOKEN_PRICES, (base, base, base, Decimal(0)), strict=True)
        ]
        if any(value != int(value) for value in scaled):
            return None
        return Rates(*(int(value) for value in scaled))


def _counts(usage: Usage) -> tuple[int | None, ...]:
    return usage.input, usage.cached, usage.cache_write, usage.output, usage.reasoning


def _knows(provider: str) -> bool:
    try:
        get_snapshot().find_provider(None, provider, None)
    except LookupError:
        return False
    return True


def _prices_at(listing: _Listing, quarter: int) -> object:
    return listing.model.get_prices(datetime.fromtimestamp(quarter * QUARTER_MS / 1000, UTC))


def _split(usage: Usage) -> tuple[int, int, int, int]:
    """Tokens as (plain input, cached, cache_write, output); parts that exceed their total make the total grow."""
    cached, written = usage.cached or 0, usage.cache_write or 0
    return max((usage.input or 0) - cached - written, 0), cached, written, usage.output or 0


def _multiply(rates: Rates, usage: Usage) -> int:
    plain, cached, written, output = _split(usage)
    femto = plain * rates.input + cached * rates.cached + written * rates.cache_write + output * rates.output
    return _half_even(femto, FEMTO_PER_NANO)


def _half_even(value: int, unit: int) -> int:
    whole, rest = divmod(value, unit)
    return whole + (1 if 2 * rest > unit or (2 * rest == unit and whole % 2) else 0)


def _ask_package(listing: _Listing, usage: Usage, quarter: int) -> int | None:
    plain, cached, written, output = _split(usage)
    counts = {
        "input_tokens": plain + cached + written,
        "cache_read_tokens": cached or None,
        "cache_write_tokens": written or None,
        "output_tokens": output,
    }
    try:
        total = listing.model.calc_price(
            BookUsage(**counts),
            listing.provider,
            genai_request_timestamp=datetime.fromtimestamp(quarter * QUARTER_MS / 1000, UTC),
        ).total_price
    except (ValueError, LookupError, ArithmeticError):
        return None
    return int((total * NANO).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
