"""Telephone numbers: those that a numbering plan knows, written as people write them, and any behind a word that says so.

Presidio tries every digit run of a text against eight plans, so that years and amounts become telephone numbers. Here a
candidate is cut out first (one pass), must have seven digits, and must look like a number to call: with a plus, with
groups, or behind a word such as `call`. Only then the plans are asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import regex
from phonenumbers import phonenumberutil

from pipeline.redaction.kinds.matcher import REGIONS, Matcher
from pipeline.redaction.kinds.shape import Shape, Sought

# The library's own idea of what may stand between digits, and what a candidate may begin with.
_BETWEEN: Final = phonenumberutil._VALID_PUNCTUATION
_LEADS: Final = r"(\[" + phonenumberutil._PLUS_CHARS.replace("+", r"\+")
_LONG: Final = rf"[{_LEADS}]?\d(?:[{_BETWEEN}]{{0,4}}\d){{6,24}}(?:[ ]?(?:x|ext\.?|extension)[ .:]{{0,2}}\d{{1,6}})?"
_WORDS: Final = (
    r"phones?|tele?phones?|telephone|tel|mobiles?|cell(?:phone|ular)?s?|fax|call(?:ing|ed|s)?|dial(?:ing|led)?|ring|"
    r"whats?app|sms|texted|texting|reach(?:ed|able)?|contact|hotline|landline|desk|direct line|office|answering|fon|móvil|"
    r"teléfono|telefon|handy|(?:my|your|his|her|their|our) number|new number"
)
_WORDS_AFTER: Final = r"office|fax|mobile|cell|desk|home|work|landline|phone"
_SAID: Final = rf"(?<![A-Za-z])(?:{_WORDS})(?![A-Za-z])[^\n\d]{{0,24}}?(?:\n[ \t]*)?(?P<v>[+(]?\d(?:[-. ()/]{{0,3}}\d){{6,15}})(?![\d.]?\d)"
_NAMED: Final = rf"(?<![\w.,/+-])(?P<v>[+(]{{0,2}}\d(?:[-. ()/]{{0,3}}\d){{6,15}})(?:[ ]?x\d{{1,6}})?[ ]?[-(]?[ ]?(?:{_WORDS_AFTER})(?![A-Za-z])"
_CUE: Final = regex.compile(rf"(?<![A-Za-z])(?:{_WORDS})(?![A-Za-z])", regex.IGNORECASE)
_IS_DATE: Final = regex.compile(
    r"\(?(?:(?:19|20)\d\d[-./ ]\d{1,2}[-./ ]\d{1,2}|(?:0?[1-9]|[12]\d|3[01])[-./](?:0?[1-9]|[12]\d|3[01])[-./](?:(?:19|20)\d\d|\d\d(?![-. ]\d\d(?:$|\D))))"
    r"(?:[ T-]\d{1,2})?(?!\d)"
)
_IS_OTHER: Final = regex.compile(r"\d{3}([- .])\d\d\1\d{4}|\d{1,3}(?:\.\d{1,3}){3}")
_AMERICAN: Final = regex.compile(r"(?:1[-. ])?[2-9]\d\d[-. /][2-9]\d\d[-. ]?\d{4}.*|[6-9]\d{4}[ -]\d{5}")
_IS_YEARS: Final = regex.compile(r"\(?(?:1[5-9]|20)\d\d(?:\s?[-–—/., ]{1,3}\s?(?:1[5-9]|20)\d\d)+\)?")
_NOT_BEFORE: Final = regex.compile(r"[\w$€£#%=*^~@.,:/\\+-]\Z")
_NOT_AFTER: Final = regex.compile(r"(?!x\d)[\w%°$€£*^=~@]|[-.,:/](?:\d|\w(?!\w))")
_CONTEXT: Final = ("phone", "number", "telephone", "cell", "cellphone", "mobile", "call", "fax", "tel", "contact")


# A number has seven digits, and up to an extension's there are no more than twelve other characters between two.
_DIGITS: Final = re.compile(r"[0-9](?:[^0-9]{0,12}[0-9]){6,}+")
_BEHIND: Final = 64
"""More than a word and what may stand between it and its number, but for the white space that a line begins with."""


def _near_digits(text: str, before: int = 1) -> Iterator[tuple[int, int]]:
    """Where so many digits stand; `re` comes to them ten times as fast as the patterns pass what is in between."""
    if not text.isascii():  # digits of other scripts
        yield 0, len(text)
        return
    low = high = 0
    for match in _DIGITS.finditer(text):
        start = match.start()
        if before > 1:
            while start and text[start - 1] in "+( \t":
                start -= 1
        if start - before > high:
            if high:
                yield low, high
            low = max(0, start - before)
        high = match.end()
    if high:
        yield low, high


def _near_words(text: str) -> Iterator[tuple[int, int]]:
    return _near_digits(text, _BEHIND)


def phones() -> Sought:
    """PHONE_NUMBER behind or before a word, and by a numbering plan."""

    def is_one(text: str, start: int, end: int) -> bool:
        return not _looks_like_another(text, start, end)

    return Sought(
        "PHONE_NUMBER",
        (
            Shape("behind a word", _SAID, 0.6, is_one, regex.IGNORECASE, near=_near_words),
            Shape("before a word", _NAMED, 0.6, is_one, regex.IGNORECASE),
            Shape("of a numbering plan", _LONG, 0.4, is_one, regex.IGNORECASE, _planned, near=_near_digits),
        ),
        context=_CONTEXT,
    )


def _looks_like_another(text: str, start: int, end: int) -> bool:
    """Whether digits are a date, years, or part of a number, a name or a sum."""
    value = text[start:end]
    if _IS_DATE.match(value) or _IS_YEARS.fullmatch(value.strip()) or _IS_OTHER.fullmatch(value):
        return True
    before, after = text[max(0, start - 2) : start], text[end : end + 3]
    if _NOT_AFTER.match(after):
        return True
    if _NOT_BEFORE.search(before) and not before.endswith((": ", ":", "=", "/", "#")) and not value.startswith("+"):
        return True
    # Decimals and thousands, versions, ranges.
    return (
        regex.fullmatch(r"\d{1,3}(?:[., ]000)+|\d+\.\d+|(?!0\d(?:\.\d\d){4}$)\d{1,4}(?:\.\d{1,4}){4,}", value)
        is not None
    )


def _planned(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Numbers of a plan in a candidate."""
    value = text[start:end]
    plus = value.lstrip("([").startswith(("+", "＋"))
    international = plus or value.startswith("00")
    groups = regex.findall(r"\d+", value)
    cue = _CUE.search(text, max(0, start - 60), start) is not None
    if not international and not cue:
        # Bare digits are an order, an account, a point in time; groups of equal look-alikes a table or a card.
        if len(groups) == 1:
            if not (_is_american(groups[0]) or (value.startswith("0") and len(groups[0]) in (10, 11))):
                return []
        elif not (value.startswith(("0", "(")) or _AMERICAN.fullmatch(value)):
            return []
        if len(groups) > 6 or (max(map(len, groups)) > 8 and len(groups) > 1):
            return []
    found: list[tuple[int, int]] = []
    for region in REGIONS:
        for match in Matcher(value, region, leniency=0 if plus else 1):
            span = (start + match.start, start + match.end)
            if span not in found and sum(c.isdigit() for c in match.raw_string) >= 7:
                found.append(span)
        if found and (international or any(one[0] <= start + 1 and one[1] == end for one in found)):
            break  # another plan could only say the same
    return [
        one for one in found if not any(other[0] <= one[0] and one[1] <= other[1] and other != one for other in found)
    ]


def _is_american(digits: str) -> bool:
    return len(digits) == 10 and digits[0] in "23456789" and digits[3] in "23456789"
