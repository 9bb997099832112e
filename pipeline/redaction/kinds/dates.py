"""Dates in words and digits, those of birth, and ages."""

from __future__ import annotations

from typing import Final

from pipeline.redaction.kinds.shape import ANY_CASE, Cue, Shape, Sought

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


def dates() -> list[Sought]:
    """Dates in words and digits, those of birth, and ages."""
    return [
        Sought("DATE_TIME", (
            Shape("yyyy-mm-dd hh:mm", rf"\b{_YEAR}[-/.]{_M}[-/.]{_D}[T ]\d{{1,2}}:\d\d(?::\d\d(?:\.\d+)?)?(?:\s?(?:Z|UTC|[+-]\d\d:?\d\d)\b)?", 0.8, None, ANY_CASE),
            Shape("digits", rf"(?<![\d./-])(?:{_YEAR}-{_M}-{_D}|{_YEAR}/{_M}/{_D}|{_M}/{_D}/(?:{_YEAR}|\d\d)|{_D}/{_M}/(?:{_YEAR}|\d\d)|"
                  rf"{_M}-{_D}-{_YEAR}|{_D}-{_M}-{_YEAR}|{_D}\.{_M}\.(?:{_YEAR}|\d\d)|{_D}-(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)-(?:{_YEAR}|\d\d))(?![\d/]|-\d)", 0.6, None, ANY_CASE),
            Shape("words", rf"\b(?:{_D}(?:st|nd|rd|th)?[ -](?:of )?{_MONTH},?[ -]{_YEAR}|{_MONTH}[ -]{_D}(?:st|nd|rd|th)?,?[ -]{_YEAR}|{_MONTH},? {_YEAR})\b", 0.6, None, ANY_CASE),
            Shape("month of a year", rf"(?<![\d/]){_M}/{_YEAR}(?![\d/])", 0.2, None, ANY_CASE),
            Shape("end of a card", rf"(?<![\d/]){_M}/\d\d(?![\d/])", 0.5, flags=ANY_CASE, cue=Cue("exp|expir(?:y|es|ation)|valid|good thru|through")),
            Shape("year behind a word", rf"\b(?:in|since|until|from|during|of|back in|founded in|established in) (?P<v>{_YEAR})(?![\d,.-]?\d)\b", 0.4, None, ANY_CASE),
            Shape("a weekday", r"\b(?:on|next|last|this|by|until|every) (?P<v>(?:mon|tues|wednes|thurs|fri|satur|sun)day)s?\b", 0.4, None, ANY_CASE),
            Shape("a weekday by its capital letter", r"(?<![\w/-])(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day(?![\w/-])", 0.4),
        ), context=("date", "birthday")),
        Sought("DATE_OF_BIRTH", (
            Shape("behind a word", rf"\b(?:date of birth|birth ?date|birth ?day|d\.?o\.?b\.?|born(?: on)?|geboren(?: am)?|né[e]? le|nacid[oa] el)\b[^\n\d]{{0,24}}?(?P<v>{DATE})", 0.85, None, ANY_CASE),
        )),
        Sought("AGE", (
            Shape("years old", r"\b(?P<v>(?:1[01]|[1-9])?\d)(?:[ -]?(?:years?|yrs?)[ -]?old|[ -]?y/?o\b|[ -]year[ -]old)", 0.7, None, ANY_CASE),
            Shape("the age of", r"\b(?:aged?(?: of)?|at the age of|age[ ]?[:=]|(?:just )?turn(?:ed|s|ing)?|i'?m|i am|(?:when|was|is) (?:s?he|they) (?:was|is|were))[ ]{1,2}(?P<v>(?:1[01]|[1-9])?\d)(?=\s*(?:[,.;)!?\n]|$|and\b|years?|today|y/?o|next|this|last|in\b))", 0.5, _is_an_age, ANY_CASE),
        )),
    ]  # fmt: skip


def _is_an_age(text: str, start: int, end: int) -> bool:
    return 0 < int(text[start:end]) < 120 and text[end : end + 1] != "%"
