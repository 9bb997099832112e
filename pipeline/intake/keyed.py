"""What a key says of its value: that it is secret, or what kind of value it is. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from schemas.vocabulary import STRUCTURE

# Keys whose value is a secret, whatever it looks like.
_SECRET: Final = re.compile(
    r"(?:.*[_.-])?(?:pass(?:word|wd|phrase|code)|pwd|secret|(?:api|access|private|secret|auth|signing|encryption|master)[_.-]?key|"
    r"apikey|accesskey|privatekey|secretkey|(?:access|refresh|auth|bearer|session|id|api|csrf|oauth)[_.-]?token|accesstoken|authtoken|"
    r"client[_.-]?secret|clientsecret|authorization|credentials?|pin(?:[_.-]?code)?|cvv2?|cvc2?|security[_.-]?code|otp)",
    re.IGNORECASE,
)
# Keys that say what their value is: redaction sees both together.
_TELLING: Final = re.compile(
    r"(?:.*[_ .-])?(?:ssn|social|security|passport|licen[cs]e|account|acct|routing|iban|bank|phones?|tel|"
    r"telephone|mobile|cell|fax|zip|postcode|postal|address|street|city|state|birth|dob|birthday|birthdate|age|name|contact|card|owner|holder|patient|customer)"
    r"(?:[_ .-](?:no|nr|num|number|id|code|date|1|2|line1|line2|name))?",
    re.IGNORECASE,
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LONGEST: Final = 64


def said_by(key: str) -> str | None:
    """What a key says of its value, to stand before it; empty: nothing; None: that it is secret."""
    return _said_by(key) if 0 < len(key) <= _LONGEST else ""  # what is remembered is short


@lru_cache(maxsize=4_096)
def _said_by(key: str) -> str | None:
    if key in STRUCTURE and key != "name":
        return ""
    words = _CAMEL.sub("_", key)
    if _SECRET.fullmatch(key) or _SECRET.fullmatch(words):
        return None
    return words.replace("_", " ") + ": " if _TELLING.fullmatch(words) else ""
