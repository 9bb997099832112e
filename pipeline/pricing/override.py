"""Prices of one's own before the book's: what a contract says, as a TOML file. Pure: gets the text, reads no file.

    name = "contract-2026"
    [[price]]
    provider = "openai"                # optional
    model = "gpt-4o*"                  # a star at the end stands for any ending
    from = 2026-10-01                  # optional: calls from that day on (UTC)
    usd_per_mtok = { input = 2.0, cached = 1.0, output = 8.0 }

The first entry that fits a call counts. What is left out of `usd_per_mtok` costs what `input` costs; `output` is
required.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Final

import msgspec

from pipeline.errors import UsageError

# A rate is kept as 10**-15 dollars a token, so that a price of up to nine decimals for a million tokens is exact.
RATE_SCALE: Final = 10**9
_DIGITS: Final = 8


class Rates(msgspec.Struct, frozen=True):
    """Linear prices in 10**-15 dollars a token."""

    input: int
    cached: int
    cache_write: int
    output: int


class _Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    model: str
    usd_per_mtok: _Prices
    provider: str | None = None
    since: date | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    price: tuple[_Entry, ...]


class Overrides:
    """The entries of one file.

    Attributes:
        version: The file's own name and the first digits of SHA-256 over its text: two files are never one version.
    """

    def __init__(self, text: str, where: str = "the price file") -> None:
        try:
            read = msgspec.convert(tomllib.loads(text, parse_float=Decimal), _File)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise UsageError(f"{where} cannot be used: {error}.") from None
        self.version = f"{read.name}-{sha256(text.encode()).hexdigest()[:_DIGITS]}"
        self._entries = [(each, _rates(each, where), _begin_ms(each.since)) for each in read.price]

    def rates(self, provider: str | None, model: str, at_ms: int) -> Rates | None:
        """What a call costs by the first entry that fits; None where none does."""
        for entry, rates, begin_ms in self._entries:
            if at_ms < begin_ms or entry.provider not in (None, provider):
                continue
            stem, star, _ = entry.model.partition("*")
            if model.startswith(stem) if star else model == stem:
                return rates
        return None


def _rates(entry: _Entry, where: str) -> Rates:
    if "*" in entry.model[:-1]:
        raise UsageError(f"{where} cannot be used: a star may only end a model's name ({entry.model}).")
    prices = entry.usd_per_mtok
    every = (prices.input, prices.cached, prices.cache_write, prices.output)
    scaled = [(prices.input if price is None else price) * RATE_SCALE for price in every]
    if any(not value.is_finite() or value < 0 or value != int(value) for value in scaled):
        raise UsageError(f"{where} cannot be used: a price of {entry.model} is below 0 or has more than nine decimals.")
    return Rates(*map(int, scaled))


def _begin_ms(since: date | None) -> int:
    return 0 if since is None else int(datetime(since.year, since.month, since.day, tzinfo=UTC).timestamp() * 1000)
