"""Whether a name carries what shapes find in text: secrets, streets, dates of birth, numbers behind a word. Pure."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import regex

from pipeline.redaction.kinds import dates, numbers, places, secrets
from pipeline.redaction.kinds.shape import Shape

_SECONDS: Final = 0.2
_FEWEST_DIGITS: Final = 6
# Their shapes are words with a digit or two: `driver-v12`. Only longer ones count here.
_WITH_DIGITS: Final = frozenset({"US_DRIVER_LICENSE"})


@cache
def _shapes() -> list[tuple[Any, Shape, bool]]:
    """(compiled pattern, its shape, whether the value must have digits); a tenth of a second the first time."""
    sought = [*secrets.secrets(), places.streets(), *numbers.numbers(), numbers.licenses()]
    sought += [one for one in dates.dates() if one.entity == "DATE_OF_BIRTH"]
    return [
        (regex.compile(shape.pattern, shape.flags), shape, one.entity in _WITH_DIGITS)
        for one in sought
        for shape in one.shapes
    ]


def says_more_than_a_name(value: str) -> bool:
    """Whether one of the shapes is in a name; a doubt counts as yes.

    Cost: about 0.1 ms; callers remember verdicts.
    """
    try:
        return any(_is_in(value, pattern, shape, digits) for pattern, shape, digits in _shapes())
    except TimeoutError:
        return True


def _is_in(value: str, pattern: Any, shape: Shape, digits: bool) -> bool:
    has_value = "v" in pattern.groupindex
    for match in pattern.finditer(value, timeout=_SECONDS):
        start, end = match.span("v") if has_value else match.span()
        if digits and sum(c.isdigit() for c in value[start:end]) < _FEWEST_DIGITS:
            continue
        if shape.accepts(value, start, end):
            return True
    return False
