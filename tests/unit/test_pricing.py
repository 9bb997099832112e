"""Claims about money: linear prices equal the package's own arithmetic, and an unknown price is never 0."""

import time
from datetime import UTC, datetime

import pytest
from genai_prices import Usage as BookUsage
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import TimeOfDateConstraint

from pipeline.pricing import NANO, PriceBook
from pipeline.pricing.book import QUARTER_MS
from schemas.event import Usage

NOW_MS = int(time.time() * 1000)
USAGES = [
    Usage(input=1000, output=100),
    Usage(input=123_457, cached=100_003, output=8_191, reasoning=77),
    Usage(input=5_000, cached=1_000, cache_write=2_000, output=1),
    Usage(input=0, output=17),
]


def constraints(kind):
    """(provider, model, constraint) of every price of the book that holds only at times."""
    for provider in get_snapshot().providers:
        for model in provider.models:
            for conditional in model.prices if isinstance(model.prices, list) else ():
                if isinstance(conditional.constraint, kind):
                    yield provider.id, model.id, conditional.constraint


def assert_equal(book, provider, model, usage, at_ms):
    """Ours is the package's price; False where the package has none."""
    try:
        expected = calc_price(
            BookUsage(
                input_tokens=usage.input,
                output_tokens=usage.output,
                cache_read_tokens=usage.cached,
                cache_write_tokens=usage.cache_write,
            ),
            model,
            provider_id=provider,
            genai_request_timestamp=datetime.fromtimestamp(at_ms / 1000, UTC),
        ).total_price
    except (LookupError, ValueError):
        return False
    got = book.price(provider, model, None, usage, None, at_ms)
    assert got.source == "computed", (provider, model)
    assert abs(got.list_cost_nano_usd - expected * NANO) <= 1, (provider, model, usage, at_ms)
    return True


def test_every_model_of_the_book_costs_what_the_package_says():
    book, checked = PriceBook(), 0
    for provider in get_snapshot().providers:
        for model in provider.models:
            checked += sum(assert_equal(book, provider.id, model.id, usage, NOW_MS) for usage in USAGES)
    assert checked > 3_000


def test_a_price_by_the_time_of_day_changes_with_the_very_second():
    book, checked = PriceBook(), 0
    for provider, model, constraint in constraints(TimeOfDateConstraint):
        for edge in (constraint.start_time, constraint.end_time):
            midnight = datetime.fromtimestamp(NOW_MS / 1000, edge.tzinfo).replace(
                hour=edge.hour, minute=edge.minute, second=edge.second, microsecond=0
            )
            at_ms = int(midnight.timestamp() * 1000)
            assert at_ms % QUARTER_MS == 0, f"{provider} {model}: rates must be kept for less than a quarter of an hour"
            checked += sum(assert_equal(book, provider, model, USAGES[0], at_ms + ms) for ms in (-1, 0))
    assert checked >= 4


def test_an_unknown_model_has_no_price_rather_than_a_price_of_zero():
    price = PriceBook().price("openai", "gpt-of-the-future", None, Usage(input=10, output=10), None, NOW_MS)
    assert (price.cost_nano_usd, price.source) == (None, "unknown")


def test_a_reported_cost_wins_and_the_list_price_stays_beside_it():
    price = PriceBook().price("openai", "gpt-4o", None, Usage(input=1_000_000, output=0), 1.25, NOW_MS)
    assert (price.cost_nano_usd, price.list_cost_nano_usd, price.source) == (1_250_000_000, 2_500_000_000, "reported")


def test_the_model_that_answered_is_priced_before_the_model_asked_for():
    book = PriceBook()
    asked = book.price("openai", "gpt-4o-mini", None, Usage(input=1000), None, NOW_MS)
    answered = book.price("openai", "gpt-4o-mini", "gpt-4o", Usage(input=1000), None, NOW_MS)
    assert answered.cost_nano_usd > asked.cost_nano_usd


def test_nothing_to_price_is_not_an_unknown_price():
    assert PriceBook().price("openai", "gpt-4o", None, None, None, NOW_MS).source == "none"


@pytest.mark.parametrize("name", ["anthropic/claude-3-5-sonnet-20241022", "openai/gpt-4o"])
def test_a_gateways_provider_prefix_is_understood(name):
    assert PriceBook().price(None, name, None, Usage(input=1000, output=10), None, NOW_MS).source == "computed"
