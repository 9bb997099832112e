"""What is derived from a call's text, so that shifts are seen without it.

Length, language, topics, refusal and words of errors, as numbers, codes and keyed hashes; no word leaves this file.

`measure` and `redact` derive the same, because facts and rows must not differ. Costs some microseconds a call: of long
texts only the beginning is looked at.
"""

from __future__ import annotations

import math
import re
import zlib
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from pipeline.detection.messages import messages_of, said
from pipeline.intake.languages import language_of, words_of
from pipeline.intake.strings import strings
from schemas.event import Event

OUTPUT_CHARS: Final = 400
INPUT_CHARS: Final = 800
ERROR_CHARS: Final = 1_000
ERROR_WORDS: Final = 24
TOPICS: Final = 64
# Of longer words nothing is remembered.
REMEMBERED_CHARS: Final = 40
TOPICS_A_CALL: Final = 4
# Characters of a token, where a producer tells tokens and no text.
CHARS_A_TOKEN: Final = 4


class Shape(NamedTuple):
    """What is known of a call's text.

    Attributes:
        output_chars: Characters of the answer.
        length_bucket: Two for each doubling of the answer's length in tokens times four, or in characters where
            nobody counted tokens: whether text is sent must make no difference.
        language: ISO 639-1 code of the answer's language; None where it is too short to tell.
        topics: Up to four of 64 keyed buckets: those of the question's words whose keyed hash is smallest.
        refusal: True when the answer declines to answer; None otherwise, because it may still do so in other words.
        error_words: See `Fact`.
    """

    output_chars: int | None = None
    length_bucket: int | None = None
    language: str | None = None
    topics: tuple[int, ...] = ()
    refusal: bool | None = None
    error_words: tuple[str, ...] = ()


def shape_of(event: Event, key: bytes) -> Shape:
    """Derive everything of one event.

    Args:
        event: The event, text and all.
        key: Secret of the tenant.
    """
    chars = None if event.output is None else sum(len(text) for text in strings(event.output))
    words = error_words(event.error.message, key) if event.error and isinstance(event.error.message, str) else ()
    if event.content != "full":
        return Shape(chars, _length_bucket(event, None), error_words=words)
    answer = said(event.output)[:OUTPUT_CHARS] if event.output is not None else ""
    return Shape(
        output_chars=chars,
        length_bucket=_length_bucket(event, chars),
        language=language_of(answer) if answer else None,
        topics=topics_of(_question(event.input), key) if event.input is not None else (),
        refusal=True if answer and is_refusal(answer) else None,
        error_words=words,
    )


def _length_bucket(event: Event, chars: int | None) -> int | None:
    tokens = event.usage.output if event.usage is not None else None
    if tokens is not None:
        chars = CHARS_A_TOKEN * tokens
    return None if chars is None else int(2 * math.log2(chars + 1))


def _question(value: Any) -> str:
    """The beginning of the newest message of a person."""
    messages = messages_of(value)
    for message in reversed(messages[-40:]):
        if not isinstance(message, dict) or message.get("role") in ("user", None):
            text = said(message)
            if text:
                return text[:INPUT_CHARS]
    return ""


# -- topics

_LEAST_LETTERS: Final = 4
# Frequent words of questions that say nothing of their topic; in other languages they only blur it.
_COMMON: Final = frozenset(
    "this that with from have what when your about would could should there their which where into they them then "
    "than will been also each some only more most such other using make please write need want like used does "
    "following example give create hello thanks thank help know were because very just after before over".split()
)


def topics_of(text: str, key: bytes) -> tuple[int, ...]:
    """Keyed buckets of a question's topic, smallest first; none where it has no word to go by.

    The words with the smallest keyed hashes are a sample of the vocabulary that is the same for all questions of a
    tenant (bottom-k sketch), so equal topics give equal distributions over the buckets.
    """
    words = {word for word in words_of(text) if len(word) >= _LEAST_LETTERS} - _COMMON
    ranked = sorted([(_topic if len(word) <= REMEMBERED_CHARS else _topic.__wrapped__)(word, key) for word in words])
    return tuple(sorted({bucket for _, _, bucket in ranked[:TOPICS_A_CALL]}))


@lru_cache(maxsize=32_768)
def _topic(word: str, key: bytes) -> tuple[int, str, int]:
    """Keyed place of a word among others, the word, and its bucket. Words known over all tenants: about 6 MB."""
    place = zlib.crc32(word.encode("utf-8", "surrogatepass"), int.from_bytes(key[:4], "little"))
    return place, word, _digest(b"topic", word, key, 2) % TOPICS


# -- refusals

# Beginnings of answers that decline, in the languages in which models decline most. What cannot be found, seen or
# reached is no refusal: "I cannot find your order" answers.
_REFUSAL: Final = re.compile(
    r"\bi(?:['’]m| am| was)? (?:can(?:['’]?t|not| not)|am (?:not able|unable)|(?:a|u)n?able|not able|won['’]?t|"
    r"will not|must (?:respectfully )?decline|have to decline|would(?:n['’]t| not) be able)"
    r"[^.!?\n]{0,40}?\b(?:help|assist|comply|provide|fulfil|do that|create|generate|write|support|engage|continue|"
    r"discuss|share|give you|answer|participate|produce|complete|offer|recommend|advise|respond|talk about)"
    r"|\bi (?:must|have to) (?:respectfully )?decline"
    r"|\bi['’]m sorry,? but (?:i can['’]?t|i cannot|that['’]s not something)"
    r"|\b(?:against|violates?|not permitted (?:by|under)) (?:my|our|the) (?:guidelines|polic(?:y|ies)|principles)"
    r"|\bas an ai(?: language model)?,? i (?:can(?:['’]?t|not)|am not able|do not|don['’]t) (?!have real)"
    r"|\b(?:ich kann|kann ich) (?:ihnen |dir )?(?:dabei |damit |hierbei )?(?:leider )?nicht (?:weiter)?helfen"
    r"|\bje ne (?:peux|suis) pas (?:vous aider|en mesure|répondre)"
    r"|\b(?:no puedo|não posso|non posso) (?:ayudar|ajudar|aiutar|proporcionar|fornecer|fornire)",
    re.IGNORECASE,
)
# What each of them holds: to look for these costs a fortieth of one search by the pattern.
_MAYBE: Final = (
    "can't", "can’t", "cant", "cannot", "can not", "able", "won't", "won’t", "wont", "will not", "declin", "sorry",
    "guideline", "polic", "principle", "as an ai", "nicht", "ne peux", "ne suis", "no puedo", "não posso", "non posso",
)  # fmt: skip


def is_refusal(answer: str) -> bool:
    """Whether the beginning of an answer declines to answer."""
    low = answer.lower()
    return any(words in low for words in _MAYBE) and _REFUSAL.search(answer) is not None


# -- errors

_QUOTED: Final = re.compile(r"'[^'\n]{1,200}'|\"[^\"\n]{1,200}\"|`[^`\n]{1,200}`")
_SPLIT: Final = re.compile(r"[\s,;:=|<>()\[\]{}]+")
# A word with a digit, an address, a path or a long hash in it is what varies.
_VARIES: Final = re.compile(r"\d|@|/|\\|[0-9a-f]{12,}", re.IGNORECASE)
TAKEN_OUT: Final = "*"


def error_words(message: str, key: bytes) -> tuple[str, ...]:
    """Keyed hash of a message without what varies in it, and of each of its first words; empty for an empty message.

    What is quoted, and words with digits, addresses or paths in them, are taken out: `*`.
    """
    text = _QUOTED.sub(f" {TAKEN_OUT} ", message[:ERROR_CHARS]).strip().lower()
    if not text:
        return ()
    words = [TAKEN_OUT if _VARIES.search(word) else word.strip(".!?-") for word in _SPLIT.split(text)]
    words = [word for word in words if word][:ERROR_WORDS]
    if not words:
        return ()
    whole = f"{_digest(b'error', ' '.join(words), key, 8):016x}"
    return (whole, *(word if word == TAKEN_OUT else f"{_digest(b'word', word, key, 4):08x}" for word in words))


def _digest(kind: bytes, text: str, key: bytes, size: int) -> int:
    data = kind + b"\x1f" + text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=size, key=key[:64]).digest(), "little")
