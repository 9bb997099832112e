"""What a step is like, for near repeats: its words as a keyed sketch, how much it says, and where its numbers go.

Pure; JSON values in, `Shape` out, which holds no text. Keys of JSON objects are form and do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from pipeline.detection.messages import is_stand_in
from pipeline.detection.words import MOST_CHARS as WORDS_CHARS
from pipeline.detection.words import MOST_WORDS, read, sketch
from schemas.event import ToolCall
from schemas.fact import Shape

LEVELS: Final = 4
# Of a sketch: those of questions are compared without them.
LOW_BITS: Final = 32
# What a shape looks at of a JSON value, at most.
MOST_VALUES: Final = 600
MOST_CHARS: Final = 4_096
MODULUS: Final = 65_536

# Keys of objects in a text that is no JSON as a whole.
_KEY: Final = re.compile(r"([\"'])[\w .-]{1,64}\1\s{0,4}:")
# What has seven digits and more is an identifier or a moment, no counter.
_DIGITS: Final = re.compile(r"[\d.]+")
_NUMBER: Final = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)\.*")
_PARTS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_WRITING: Final = frozenset(
    "add append apply approve archive assign book buy cancel charge close commit create delete deploy drop edit "
    "execute grant insert install invite issue kill merge modify move notify order patch pay place post publish "
    "purchase push put refund register reject remove rename replace reply reserve reset restart revoke save schedule "
    "send set share start stop store submit terminate transfer update upload upsert write".split()
)
# `get_order` and `order_status` order nothing.
_READING: Final = frozenset(
    "browse check count describe details diff download exists explain export fetch find get grep history info inspect "
    "list look lookup ls open query read retrieve scan search select show stat stats status summary test validate "
    "verify view watch".split()
)


class Looked(NamedTuple):
    """A value taken apart: its loose text, its shape without what only calls of tools have, and its words."""

    loose: str
    shape: Shape
    words: list[str]


def look(value: Any, key: bytes) -> Looked:
    """The shape of a JSON value or text under the secret of a tenant."""
    texts, numbers, hashes = _values(value)
    text = "\n".join(texts)
    words = read(text)
    # What holds a digit is volatile; of a long text not all was read.
    has_numbers = numbers or words.volatile or len(text) > WORDS_CHARS
    levels = _levels(numbers, texts, key) if has_numbers else ()
    bits = sketch(words.content, key)
    shape = Shape(
        bits >> LOW_BITS,
        bits & ((1 << LOW_BITS) - 1),
        len(words.content),
        min(MOST_WORDS, len(words.volatile) + len(numbers)),
        levels,
    )
    loose = f"{words.loose} 0" if numbers and not words.volatile else words.loose
    return Looked(" ".join((loose, *hashes)) if hashes else loose, shape, words.content)


def writes(calls: Iterable[ToolCall]) -> bool:
    """Whether one of the tools changes something, by its name."""
    parts = {part.lower() for call in calls for part in _PARTS.findall((call.name or "")[:64])}
    return not parts.isdisjoint(_WRITING) and parts.isdisjoint(_READING)


def tag(calls: Iterable[ToolCall], key: bytes) -> int:
    """16 keyed bits of the tools' names."""
    data = "\x1f".join(sorted(call.name or "?" for call in calls)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(b"t\x1f" + data, digest_size=2, key=key[:64]).digest(), "big")


def name_bits(names: Iterable[str], key: bytes) -> int:
    """One of 32 bits for each name; 0 for no names."""
    bits = 0
    for name in names:
        data = b"n\x1f" + name.encode("utf-8", "surrogatepass")
        bits |= 1 << (blake2b(data, digest_size=1, key=key[:64]).digest()[0] & 31)
    return bits


def _values(value: Any) -> tuple[list[str], list[int | float], list[str]]:
    """Strings, numbers, and hashes for texts; the shallow ones first, keys in order, so that slots compare."""
    texts: list[str] = []
    hashes: list[str] = []
    numbers: list[int | float] = []
    level, seen, chars = [value], 0, 0
    while level and seen < MOST_VALUES and chars < MOST_CHARS:
        below: list[Any] = []
        for item in level:
            seen += 1
            if isinstance(item, str):
                item = item[:MOST_CHARS]
                texts.append(_KEY.sub(" ", item) if ":" in item else item)
                chars += len(item)
            elif isinstance(item, bool) or item is None:
                texts.append(str(item))
            elif isinstance(item, int | float):
                numbers.append(item)
            elif isinstance(item, list):
                below += item[:MOST_VALUES]
            elif isinstance(item, dict):
                if is_stand_in(item):
                    hashes.append(str(item["hash"])[:64])
                else:
                    below += [item[name] for name in sorted(item)[:MOST_VALUES]]
        level = below
    return texts, numbers, hashes


@lru_cache(maxsize=1_024)
def _shift(key: bytes) -> int:
    return int.from_bytes(blake2b(b"level", digest_size=2, key=key[:64]).digest(), "big")


def _levels(numbers: list[int | float], texts: list[str], key: bytes) -> tuple[int, ...]:
    found: list[int | float] = [number for number in numbers[:LEVELS] if abs(number) < 1e7]
    for text in texts:
        if len(found) >= LEVELS:
            break
        numbers_in = map(_NUMBER.fullmatch, _DIGITS.findall(text[:MOST_CHARS]))
        found += [float(one[1]) if "." in one[1] else int(one[1]) for one in numbers_in if one is not None]
    if not found:
        return ()
    shift = _shift(key)
    # Parts of a number in hundredths; of a float that is whole, too, so that 41.0 lies between 40.5 and 41.5.
    return tuple((round(one * 100 if isinstance(one, float) else one) + shift) % MODULUS for one in found[:LEVELS])
