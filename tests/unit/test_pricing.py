"""Claims about money: linear prices equal the package's own arithmetic, and an unknown price is never 0."""

import time

import pytest
from genai_prices import Usage as BookUsage
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot

from pipeline.pricing import NANO, PriceBook
from schemas.event import Usage

NOW_MS = int(time.time() * 1000)
USAGES = [
    Usage(input=1000, output=100),
    Usage(input=123_457, cached=100_003, output=8_191, reasoning=77),
    Usage(input=5_000, cached=1_000, cache_write=2_000, output=1),
    Usage(input=0, output=17),
]


def test_every_model_of_the_book_costs_what_the_package_says():
    book, checked = PriceBook(), 0
    for provider in get_snapshot().providers:
        for model in provider.models:
            for usage in USAGES:
                try:
                    expected = calc_price(
                        BookUsage(
                            input_tokens=usage.input,
                            output_tokens=usage.output,
                            cache_read_tokens=usage.cached,
                            cache_write_tokens=usage.cache_write,
                        ),
                        model.id,
                        provider_id=provider.id,
                    ).total_price
                except (LookupError, ValueError):
                    continue
                got = book.price(provider.id, model.id, None, usage, None, NOW_MS)
                assert got.source == "computed", (provider.id, model.id)
                assert abs(got.list_cost_nano_usd - expected * NANO) <= 1, (provider.id, model.id, usage)
                checked += 1
    assert checked > 3_000


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
