"""The library's matcher of telephone numbers, with what cannot be one thrown out before eight plans are asked about it.

Matches are the library's own, to the character: a candidate is only dropped if none of the regions has a valid number
with so few digits (`NEEDS`; a test looks through the library's tables).
"""

from __future__ import annotations

import re
import sys
from typing import Any, Final

import phonenumbers
from phonenumbers import phonenumberutil

# The shortest valid numbers of the regions have six digits, but for German pagers that begin with 16.
_PUNCTUATION: Final = rf"[{phonenumberutil._VALID_PUNCTUATION}]{{0,4}}"
NEEDS: Final = (
    rf"\d(?:{_PUNCTUATION}\d){{5}}",
    rf"1{_PUNCTUATION}6{_PUNCTUATION}\d{_PUNCTUATION}\d",
)
REGIONS: Final = ("US", "GB", "DE", "FR", "IL", "IN", "CA", "BR")
"""Numbering plans that numbers without a country code are tried against: Presidio's."""
_DIGIT: Final = re.compile(r"\d")
_FEWEST: Final = 6
_PAGER: Final = re.compile(r"1\D*6")


class Matcher(phonenumbers.PhoneNumberMatcher):
    """Numbers in a text that a region's plan knows; never gives up silently, as the library does after 65,535 tries."""

    def __init__(self, text: str, region: str, leniency: int = 1) -> None:
        super().__init__(text, region, leniency=leniency, max_tries=sys.maxsize)
        self._may_drop = region in REGIONS and leniency >= phonenumbers.Leniency.VALID

    def _parse_and_verify(self, candidate: str, offset: int) -> Any:
        if self._may_drop and len(_DIGIT.findall(candidate)) < _FEWEST and not _PAGER.search(candidate):
            return None
        return super()._parse_and_verify(candidate, offset)
