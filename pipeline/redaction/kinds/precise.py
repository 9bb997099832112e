"""Presidio's recognisers with what they are not sure of asked for: a word before the value, or a shape that is one.

Eight digits are no bank account, `v1` is no driver's licence, `a::b` no address and `self.in` no domain, unless the text
says so. The patterns stay Presidio's where they are right; what is added is code.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final

import regex
from presidio_analyzer.predefined_recognizers import IpRecognizer, UrlRecognizer

from pipeline.redaction.kinds.base import Kind, Shape, cue_before

_N: Final = regex.MULTILINE | regex.IGNORECASE


class Addresses(IpRecognizer):  # type: ignore[misc]
    """IP addresses as Presidio finds them, without scope operators, times and versions."""

    def invalidate_result(self, pattern_text: str) -> bool | None:
        """Whether a match is no address, or one that names nothing (`::`, `a::b`)."""
        bare = pattern_text.split("/", 1)[0]
        try:
            address = ipaddress.ip_address(bare)
        except ValueError:
            return True
        if address.version == 4:
            return False
        groups = [g for g in bare.split(":") if g]
        if "." in bare:
            return False
        # An address in use has three groups, or a group that is no word and no small number.
        telling = [g for g in groups if len(g) > 2 and any(c.isdigit() for c in g)]
        return len(groups) < 3 and not telling and bare != "::1"


# What ends like a domain in code and file names far more often than in prose.
_FILES: Final = frozenset(
    "py rs sh md ml pl ps ts cc cs js in is it so id to do as at be by us me my no im am pm ai io app zip mov java name "
    "info data map call next run find first date tools video link art red pink blue black select style click page post "
    "help now one plus top trade work works world zone center code design dev email fit foundation gold group host link "
    "media menu network online photo pub report review rest rip sale save school search security select services site "
    "space store studio style support systems target team tech tools trading training travel tube watch web wiki".split()
)
_OBJECTS: Final = frozenset(
    "self this cls np pd plt tf os sys re df obj root node math json time np torch nn ax fig data item items list map res "
    "req app ctx db console window document module process string arr result response request user config input output "
    "array object value model file path e i j k x y a b n s t p q r c d f g h l m o u v w z main index test utils setup "
    "std fmt cv plt sns driver session client server context event element el el1 package math random datetime".split()
)
_GOES_ON: Final = regex.compile(r"[\w(\[=]|\.\w|-\w")
_LABELS: Final = regex.compile(r"(?:https?://)?(?P<host>[^/?#:\"']+)(?P<rest>.*)", regex.DOTALL)


class Domains(UrlRecognizer):  # type: ignore[misc]
    """Addresses in the web as Presidio finds them, without members of objects and names of files."""

    def accepts(self, text: str, start: int, end: int) -> bool:
        """Whether a match ends where a name ends: the `.re` of `soup.replace(` is no country."""
        return "://" in text[start:end] or not _GOES_ON.match(text[end : end + 2])

    def analyze(self, text: str, entities: Any, nlp_artifacts: Any = None, regex_flags: int | None = None) -> list[Any]:
        """Presidio's findings that are accepted."""
        found = super().analyze(text, entities, nlp_artifacts, regex_flags)
        return [r for r in found if self.accepts(text, r.start, r.end)]

    def invalidate_result(self, pattern_text: str) -> bool | None:
        """Whether a match without a scheme is rather code (`self.in`, `file.py`)."""
        text = pattern_text.strip("\"'")
        if "://" in text or text[:4].lower() == "www.":
            return False
        match = _LABELS.match(text)
        if match is None:
            return False
        host, rest = match["host"], match["rest"]
        labels = host.split(".")
        if labels[-1].lower() in _FILES:
            if rest.startswith("/"):
                return len(labels) == 2 and labels[0].lower() in _OBJECTS
            return len(labels) == 2 or labels[0].lower() in _OBJECTS
        if labels[0].lower() in _OBJECTS or not labels[0]:
            return len(labels) <= 3 and not rest
        # `Response.name`, `i.e.example`: a capital inside is a class, single letters are no labels.
        return any(c.isupper() for c in host[1:]) and not host.isupper() and not rest


_LICENSE: Final = (
    r"[A-Z]\d{3,14}|[A-Z]{1,3}\d{2,7}|\d{2}[A-Z]{3}\d{5,6}|[A-Z]\d{3}[- ]\d{4}[- ]\d{4}|[A-Z]\d{3}[- ]\d{3}[- ]\d{2}[- ]\d{3}(?:[- ]\d)?|"
    r"\d{6,14}|\d{16}|\d{3}[A-Z]{2}\d{4}|\d{7}[A-Z]|\d{8,9}[A-Z]{1,2}|[A-Z]{3}[*]{2}[A-Z*]{2}\d{3}[A-Z0-9]\d|\d{3}[- ]\d{3}[- ]\d{3}|\d{4}-\d{2}-\d{4}|"
    r"[A-Z]{5}\d{6}[A-Z0-9]{2}\d?[A-Z]{0,2}"
)
_LICENSE_WORDS: Final = (
    r"driver'?s?|drivers?|driving|DL|DLN|CDL|D\.L\.|licen[cs]e (?:no|number|num|id|#)|licen[cs]e(?=\W{0,3}$)|permit|"
    r"(?:my|your|his|her|their) licen[cs]e|lic#?"
)


def cards() -> Any:
    """Payment cards that Presidio's pattern leaves out: 12 and 19 digits, Mastercard's second series, JCB's old one."""
    cue = cue_before("cards?|credit|debit|visa|mastercard|amex|american express|maestro|jcb|diners|discover|cc|pan", 60)
    return Kind(
        "CREDIT_CARD",
        [
            Shape("behind a word", r"(?<![\d.])\d(?:[ -]?\d){11,18}(?![ -]?\d)", 0.9,
                  lambda text, start, end: _passes_luhn(text[start:end]) and cue(text, start, end)),
            Shape("second series", r"(?<![\d.-])2(?:2[2-9]|[3-6]\d|7[01])\d(?:[ -]?\d{4}){3}(?![ -]?\d)", 0.9,
                  lambda text, start, end: _passes_luhn(text[start:end])),
        ],
    )  # fmt: skip


def _passes_luhn(value: str) -> bool:
    digits = [int(c) for c in value if c.isdigit()]
    return (sum(digits[-1::-2]) + sum(sum(divmod(2 * d, 10)) for d in digits[-2::-2])) % 10 == 0 and any(digits)


def licenses() -> Any:
    """Driver's licences of the United States: their shapes, behind a word for one."""
    return Kind(
        "US_DRIVER_LICENSE",
        [Shape("behind a word", rf"\b(?:{_LICENSE})\b", 0.65, cue_before(_LICENSE_WORDS, 50), _N)],
    )


def numbers_with_a_word() -> list[Any]:
    """Numbers that only the words before them tell from any other: accounts, passports, social security."""
    return [
        Kind("US_BANK_NUMBER", [
            Shape("behind a word", r"\b\d{8,17}\b", 0.5,
                  cue_before(r"account|acct|a/c|bank|routing|checking|savings|debit|deposit|aba|wire|ach|account#|acct#"), _N),
            Shape("routing and account", r"\b\d{9}[ /-]{1,3}\d{8,17}\b", 0.5, cue_before("bank|routing|aba|wire|ach"), _N),
        ]),
        Kind("US_PASSPORT", [
            Shape("behind a word", r"\b(?:\d{9}|[A-Z]\d{8})\b", 0.6, cue_before("passports?|passport#|travel document"), _N),
        ]),
        Kind("US_SSN", [
            # Also numbers that the issuer never gave (such as 123-45-6789): who writes one means his own.
            Shape("in groups", r"(?<![\d.-])\d{3}([- .])\d{2}\1\d{4}(?!\d|[.-]\d)", 0.6, _is_no_other_number),
            Shape("digits behind a word", r"\b\d{3}[ -]?\d{2}[ -]?\d{4}\b", 0.6,
                  cue_before("social security|ssn|ssns|soc(?:ial)?|ss#|social security number"), _N),
        ], context=("social", "security", "ssn", "ssns", "ssid")),
    ]  # fmt: skip


def _is_no_other_number(text: str, start: int, end: int) -> bool:
    """Groups of 3, 2 and 4 digits that are no date, no part of a longer row, and not all zero somewhere."""
    area, group, serial = text[start : start + 3], text[start + 4 : start + 6], text[end - 4 : end]
    if ("000" in (area, serial[:3]) and "0000" in (serial,)) or group == "00":
        return False
    return text[start + 3] != "." or (start > 0 and text[start - 1].isspace())


_D: Final = r"(?:0?[1-9]|[12]\d|3[01])"
_M: Final = r"(?:0?[1-9]|1[0-2])"
_MONTH: Final = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)\.?"
)
_YEAR: Final = r"(?:19|20)\d\d"
DATE: Final = (
    rf"(?:{_YEAR}[-/.]{_M}[-/.]{_D}|{_D}[-/.]{_M}[-/.](?:{_YEAR}|\d\d)|{_M}[-/.]{_D}[-/.](?:{_YEAR}|\d\d)|"
    rf"{_D}(?:st|nd|rd|th)?[ -](?:of )?{_MONTH},?[ -](?:{_YEAR}|\d\d)|{_MONTH}[ -]{_D}(?:st|nd|rd|th)?,?[ -]{_YEAR}|{_MONTH} {_YEAR})"
)


def dates() -> list[Any]:
    """Dates in words and digits, those of birth, and ages."""
    return [
        Kind("DATE_TIME", [
            Shape("yyyy-mm-dd hh:mm", rf"\b{_YEAR}[-/.]{_M}[-/.]{_D}[T ]\d{{1,2}}:\d\d(?::\d\d(?:\.\d+)?)?(?:\s?(?:Z|UTC|[+-]\d\d:?\d\d)\b)?", 0.8, None, _N),
            Shape("digits", rf"(?<![\d./-])(?:{_YEAR}-{_M}-{_D}|{_YEAR}/{_M}/{_D}|{_M}/{_D}/(?:{_YEAR}|\d\d)|{_D}/{_M}/(?:{_YEAR}|\d\d)|"
                  rf"{_M}-{_D}-{_YEAR}|{_D}-{_M}-{_YEAR}|{_D}\.{_M}\.(?:{_YEAR}|\d\d)|{_D}-(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)-(?:{_YEAR}|\d\d))(?![\d/]|-\d)", 0.6, None, _N),
            Shape("words", rf"\b(?:{_D}(?:st|nd|rd|th)?[ -](?:of )?{_MONTH},?[ -]{_YEAR}|{_MONTH}[ -]{_D}(?:st|nd|rd|th)?,?[ -]{_YEAR}|{_MONTH},? {_YEAR})\b", 0.6, None, _N),
            Shape("month of a year", rf"(?<![\d/]){_M}/{_YEAR}(?![\d/])", 0.2, None, _N),
            Shape("end of a card", rf"(?<![\d/]){_M}/\d\d(?![\d/])", 0.5, cue_before("exp|expir(?:y|es|ation)|valid|good thru|through"), _N),
            Shape("year behind a word", rf"\b(?:in|since|until|from|during|of|back in|founded in|established in) (?P<v>{_YEAR})(?![\d,.-]?\d)\b", 0.4, None, _N),
            Shape("a weekday", r"\b(?:on|next|last|this|by|until|every) (?P<v>(?:mon|tues|wednes|thurs|fri|satur|sun)day)s?\b", 0.4, None, _N),
            Shape("a weekday by its capital letter", r"(?<![\w/-])(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day(?![\w/-])", 0.4),
        ], context=("date", "birthday")),
        Kind("DATE_OF_BIRTH", [
            Shape("behind a word", rf"\b(?:date of birth|birth ?date|birth ?day|d\.?o\.?b\.?|born(?: on)?|geboren(?: am)?|né[e]? le|nacid[oa] el)\b[^\n\d]{{0,24}}?(?P<v>{DATE})", 0.85, None, _N),
        ]),
        Kind("AGE", [
            Shape("years old", r"\b(?P<v>(?:1[01]|[1-9])?\d)(?:[ -]?(?:years?|yrs?)[ -]?old|[ -]?y/?o\b|[ -]year[ -]old)", 0.7, None, _N),
            Shape("the age of", r"\b(?:aged?(?: of)?|at the age of|age[ ]?[:=]|(?:just )?turn(?:ed|s|ing)?|i'?m|i am|(?:when|was|is) (?:s?he|they) (?:was|is|were))[ ]{1,2}(?P<v>(?:1[01]|[1-9])?\d)(?=\s*(?:[,.;)!?\n]|$|and\b|years?|today|y/?o|next|this|last|in\b))", 0.5, _is_an_age, _N),
        ]),
    ]  # fmt: skip


def _is_an_age(text: str, start: int, end: int) -> bool:
    return 0 < int(text[start:end]) < 120 and text[end : end + 1] != "%"
