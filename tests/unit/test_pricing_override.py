"""Prices of one's own: they come before the book's, and two files are never one version."""

import pytest

from pipeline.errors import UsageError
from pipeline.pricing import Overrides, PriceBook
from schemas.event import Usage

NOVEMBER, SEPTEMBER = 1_795_000_000_000, 1_790_000_000_000
CONTRACT = """
name = "contract"
[[price]]
provider = "openai"
model = "gpt-4o*"
from = 2026-10-01
usd_per_mtok = { input = 2, cached = 0.5, output = 8.0 }
[[price]]
model = "our-own"
usd_per_mtok = { input = 0.000000001, output = 0 }
"""


def cost(book, model, at_ms=NOVEMBER, provider="openai", **usage):
    return book.price(provider, model, None, Usage(**usage), None, at_ms).list_cost_nano_usd


def test_a_price_of_ones_own_comes_before_the_books():
    book = PriceBook(Overrides(CONTRACT))
    assert cost(book, "gpt-4o", input=1_000_000, cached=400_000, output=100_000) == 2_200_000_000
    assert cost(book, "gpt-4o-mini", input=1_000_000, output=0) == 2_000_000_000


def test_what_the_file_does_not_name_costs_what_the_book_says():
    mine, plain = PriceBook(Overrides(CONTRACT)), PriceBook()
    for model, at_ms, provider in (
        ("o1", NOVEMBER, "openai"),
        ("gpt-4o", SEPTEMBER, "openai"),
        ("gpt-4o", NOVEMBER, "azure"),
    ):
        assert cost(mine, model, at_ms, provider, input=1000) == cost(plain, model, at_ms, provider, input=1000)


def test_cached_tokens_without_a_price_of_their_own_cost_what_input_costs():
    book = PriceBook(Overrides(CONTRACT))
    assert cost(book, "our-own", input=10**9, cached=10**9, output=5) == 1_000


def test_a_reported_cost_stays_and_the_list_price_beside_it_is_ones_own():
    price = PriceBook(Overrides(CONTRACT)).price("openai", "gpt-4o", None, Usage(input=1_000_000), 1.25, NOVEMBER)
    assert (price.cost_nano_usd, price.list_cost_nano_usd, price.source) == (1_250_000_000, 2_000_000_000, "reported")


def test_two_files_of_one_name_are_two_versions():
    one, other = Overrides(CONTRACT), Overrides(CONTRACT.replace("8.0", "9.0"))
    assert one.version != other.version and one.version.startswith("contract-")
    assert PriceBook(one).version == f"{one.version}+{PriceBook().version}"


@pytest.mark.parametrize(
    "wrong",
    [
        "name = 1",
        "name = 'x'\n[[price]]\nmodel = 'm'\nusd_per_mtok = { input = 1 }",
        "name = 'x'\n[[price]]\nmodel = 'm'\nusd_per_mtok = { input = -1, output = 1 }",
        "name = 'x'\n[[price]]\nmodel = 'm'\nusd_per_mtok = { input = 0.0000000001, output = 1 }",
        "name = 'x'\n[[price]]\nmodel = 'a*b'\nusd_per_mtok = { input = 1, output = 1 }",
        "name = 'x'\n[[price]]\nmodel = 'm'\nprice = 3\nusd_per_mtok = { input = 1, output = 1 }",
        "[[",
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(UsageError, match="cannot be used"):
        Overrides(wrong)
