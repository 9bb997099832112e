"""Run a default recogniser only on lines that hold what its patterns cannot do without; the findings stay the same.

A gate is a condition that every match must meet (a card needs thirteen digits in a row of groups, an e-mail address an
@). It is true for the patterns it was made for and for no others, so everything is pinned: if the digest of the
recognisers' patterns or the telephone library's version is another one, nothing is skipped. Recognisers of the user's
are never skipped, and a text with characters that patterns take for ASCII letters or digits is searched whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Any, Final

from pipeline.redaction.recognizers import EXPECTED

PINNED: Final = "8fccb09d3f0feabd"
"""Digest of the patterns that the gates below were made for."""

# Matching without case takes these four for i, i, s and k; and \d takes every decimal digit there is.
_FOLDED: Final = re.compile("[\u0130\u0131\u017f\u212a]|(?![0-9])\\d")
# A line with none of these interests nobody.
_ANYTHING: Final = re.compile(r"[0-9@]|\.[A-Za-z]{2}|::|:.*:.*:.*:.*:|-.*-.*-.*-|\.[A-Fa-f]{4}\.").search

_DIGIT: Final = re.compile(r"[0-9]").search
_DOMAIN: Final = re.compile(r"[A-Za-z0-9.-]\.[A-Za-z]{2}").search
_PUNCTUATION: Final = "[-xX ()./~\\[\\]\u0080-\U0010ffff]{0,4}"
# Nothing shorter than six digits is a valid number, except German pager numbers that begin with 16.
_PHONE: Final = re.compile(
    rf"[0-9](?:{_PUNCTUATION}[0-9]){{5}}|1{_PUNCTUATION}6{_PUNCTUATION}[0-9]{_PUNCTUATION}[0-9]"
).search
_LICENSE: Final = re.compile(r"[A-Za-z][0-9]|[0-9][A-Za-z]|[0-9]{6}|\][0-9]").search
_EIGHT_DIGITS: Final = re.compile(r"[0-9]{8}").search
_NINE_GROUPED: Final = re.compile(r"[0-9](?:[- .]?[0-9]){8}").search
_TEN_GROUPED: Final = re.compile(r"[0-9](?:[- ]?[0-9]){9}").search
_THIRTEEN_GROUPED: Final = re.compile(r"[0-9](?:[- ]?[0-9]){12}").search
_DATE: Final = re.compile(r"[0-9][-/.][0-9]|[A-Za-z]-[0-9]|[0-9]-[A-Za-z]").search
_MEDICAL: Final = re.compile(r"[A-Za-z][0-9]{7}").search
_CRYPTO: Final = re.compile(r"[13][A-Za-z0-9]{25}").search
_IBAN: Final = re.compile(r"[A-Za-z]{2}[0-9]{2}").search
_DOTTED: Final = re.compile(r"[0-9]\.[0-9]").search
_HARDWARE: Final = re.compile(r"(?:[0-9A-Fa-f]{2}[:-]){5}|\.[0-9A-Fa-f]{4}\.").search
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-").search


def _address(line: str) -> bool:
    return "::" in line or line.count(":") >= 6 or _DOTTED(line) is not None


_GATES: Final[dict[str, Callable[[str], object]]] = {
    "CreditCardRecognizer": _THIRTEEN_GROUPED,
    "CryptoRecognizer": _CRYPTO,
    "DateRecognizer": _DATE,
    "EmailRecognizer": lambda line: "@" in line,
    "IbanRecognizer": _IBAN,
    "IpRecognizer": _address,
    "MacAddressRecognizer": _HARDWARE,
    "MedicalLicenseRecognizer": _MEDICAL,
    "NhsRecognizer": _TEN_GROUPED,
    "PhoneRecognizer": _PHONE,
    "UrlRecognizer": _DOMAIN,
    "UsBankRecognizer": _EIGHT_DIGITS,
    "UsItinRecognizer": _NINE_GROUPED,
    "UsLicenseRecognizer": _LICENSE,
    "UsPassportRecognizer": _EIGHT_DIGITS,
    "UsSsnRecognizer": _NINE_GROUPED,
    "UuidRecognizer": _UUID,
}
_WITHOUT_DIGITS: Final = frozenset(
    {"EmailRecognizer", "UrlRecognizer", "IpRecognizer", "MacAddressRecognizer", "UuidRecognizer"}
)


def digest(recognizers: Sequence[Any]) -> str:
    """What the default recognisers among these look for, as one short digest."""
    parts = [version("phonenumbers")]
    for r in sorted((r for r in recognizers if _is_default(r)), key=lambda r: type(r).__name__):
        parts.append(f"{type(r).__name__} {getattr(r, 'global_regex_flags', '')!s}")
        parts += [f"{p.name} {p.score} {p.regex}" for p in getattr(r, "patterns", ())]
        parts.append(f"{getattr(r, 'supported_regions', '')} {getattr(r, 'leniency', '')}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _is_default(recognizer: Any) -> bool:
    kind = type(recognizer)
    return kind.__name__ in EXPECTED and kind.__module__.startswith("presidio_analyzer.")


class Gates:
    """Decides which recogniser has to look at which part of a text.

    Args:
        recognizers: those in use.
        pinned: whether all default recognisers are the ones that the gates were made for.
    """

    def __init__(self, recognizers: Sequence[Any], *, pinned: bool) -> None:
        self._all = list(recognizers)
        gated = [r for r in recognizers if pinned and _is_default(r)]
        self._always = [r for r in recognizers if r not in gated]
        gates = [(_GATES[type(r).__name__], r) for r in gated]
        self._without_digits = [(gate, r) for gate, r in gates if type(r).__name__ in _WITHOUT_DIGITS]
        self._with_digits = [(gate, r) for gate, r in gates if type(r).__name__ not in _WITHOUT_DIGITS]

    def work(self, text: str) -> Iterator[tuple[Any, str, int]]:
        """What has to be done: (recogniser, part of the text, its offset in characters)."""
        if not text.isascii() and _FOLDED.search(text):
            yield from ((r, text, 0) for r in self._all)
            return
        yield from ((r, text, 0) for r in self._always)
        if not _ANYTHING(text):
            return
        offset = 0
        for line in text.split("\n"):  # no pattern reaches over the end of a line
            if _ANYTHING(line):
                for gate, recognizer in self._without_digits:
                    if gate(line):
                        yield recognizer, line, offset
                if _DIGIT(line):
                    for gate, recognizer in self._with_digits:
                        if gate(line):
                            yield recognizer, line, offset
            offset += len(line) + 1
