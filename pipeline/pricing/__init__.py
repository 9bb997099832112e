"""Tokens to money, with the price's version. Pure: no clock, no network; the book is the installed `genai-prices`."""

from pipeline.pricing.book import NANO, Price, PriceBook
from pipeline.pricing.override import Overrides

__all__ = ["NANO", "Overrides", "Price", "PriceBook"]
