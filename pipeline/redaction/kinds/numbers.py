"""Numbers that only a word before them tells from any other: accounts, passports, licences, some cards.

Eight digits are no bank account and `v1` is no driver's licence, unless the text says so.
"""

from __future__ import annotations

from typing import Final

from pipeline.redaction.kinds.shape import ANY_CASE, Cue, Shape, Sought

_LICENSE: Final = (
    r"[A-Z]\d{3,14}|[A-Z]{1,3}\d{2,7}|\d{2}[A-Z]{3}\d{5,6}|[A-Z]\d{3}[- ]\d{4}[- ]\d{4}|[A-Z]\d{3}[- ]\d{3}[- ]\d{2}[- ]\d{3}(?:[- ]\d)?|"
    r"\d{6,14}|\d{16}|\d{3}[A-Z]{2}\d{4}|\d{7}[A-Z]|\d{8,9}[A-Z]{1,2}|[A-Z]{3}[*]{2}[A-Z*]{2}\d{3}[A-Z0-9]\d|\d{3}[- ]\d{3}[- ]\d{3}|\d{4}-\d{2}-\d{4}|"
    r"[A-Z]{5}\d{6}[A-Z0-9]{2}\d?[A-Z]{0,2}"
)
_LICENSE_WORDS: Final = (
    r"driver'?s?|drivers?|driving|DL|DLN|CDL|D\.L\.|licen[cs]e (?:no|number|num|id|#)|licen[cs]e(?=\W{0,3}$)|permit|"
    r"(?:my|your|his|her|their) licen[cs]e|lic#?"
)


def cards() -> Sought:
    """Payment cards that Presidio's pattern leaves out: 12 and 19 digits, Mastercard's second series, JCB's old one."""
    cue = Cue("cards?|credit|debit|visa|mastercard|amex|american express|maestro|jcb|diners|discover|cc|pan")
    return Sought(
        "CREDIT_CARD",
        (
            Shape("behind a word", r"(?<![\d.])\d(?:[ -]?\d){11,18}(?![ -]?\d)", 0.9,
                  _passes_luhn, cue=cue),
            Shape("second series", r"(?<![\d.-])2(?:2[2-9]|[3-6]\d|7[01])\d(?:[ -]?\d{4}){3}(?![ -]?\d)", 0.9,
                  _passes_luhn),
        ),
    )  # fmt: skip


def _passes_luhn(text: str, start: int, end: int) -> bool:
    digits = [int(c) for c in text[start:end] if c.isdigit()]
    return (sum(digits[-1::-2]) + sum(sum(divmod(2 * d, 10)) for d in digits[-2::-2])) % 10 == 0 and any(digits)


def licenses() -> Sought:
    """Driver's licences of the United States: their shapes, behind a word for one."""
    return Sought(
        "US_DRIVER_LICENSE",
        (
            Shape(
                "behind a word",
                rf"\b(?:{_LICENSE})\b",
                0.65,
                flags=ANY_CASE,
                cue=Cue(_LICENSE_WORDS, 50, is_rarer=True),
            ),
        ),
    )


def numbers() -> list[Sought]:
    """Numbers that only the words before them tell from any other: accounts, passports, social security."""
    return [
        Sought("US_BANK_NUMBER", (
            Shape("behind a word", r"\b\d{8,17}\b", 0.5,
                  flags=ANY_CASE, cue=Cue(r"account|acct|a/c|bank|routing|checking|savings|debit|deposit|aba|wire|ach|account#|acct#")),
            Shape("routing and account", r"\b\d{9}[ /-]{1,3}\d{8,17}\b", 0.5, flags=ANY_CASE, cue=Cue("bank|routing|aba|wire|ach")),
        )),
        Sought("US_PASSPORT", (
            Shape("behind a word", r"\b(?:\d{9}|[A-Z]\d{8})\b", 0.6, flags=ANY_CASE, cue=Cue("passports?|passport#|travel document")),
        )),
        Sought("US_SSN", (
            # Also numbers that the issuer never gave (such as 123-45-6789): who writes one means his own.
            Shape("in groups", r"(?<![\d.-])\d{3}([- .])\d{2}\1\d{4}(?!\d|[.-]\d)", 0.6, _is_no_other_number),
            Shape("digits behind a word", r"\b\d{3}[ -]?\d{2}[ -]?\d{4}\b", 0.6,
                  flags=ANY_CASE, cue=Cue("social security|ssn|ssns|soc(?:ial)?|ss#|social security number")),
        ), context=("social", "security", "ssn", "ssns", "ssid")),
    ]  # fmt: skip


def _is_no_other_number(text: str, start: int, end: int) -> bool:
    """Groups of 3, 2 and 4 digits that are no date, no part of a longer row, and not all zero somewhere."""
    area, group, serial = text[start : start + 3], text[start + 4 : start + 6], text[end - 4 : end]
    if ("000" in (area, serial[:3]) and "0000" in (serial,)) or group == "00":
        return False
    return text[start + 3] != "." or (start > 0 and text[start - 1].isspace())
