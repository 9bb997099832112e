"""Keyed sketches: what a text is about, in 96 bits from which no text can be read. No state but a cache of words.

A sketch is a SimHash (Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002) over the
different words of a text: each word has 96 keyed bits, and each bit of the sketch is what most of the words have. Two
texts that share the part c of their words (as a cosine) differ in about arccos(c) / pi of the bits. Which words a text
has decides, not their order or number. Function words do not count, and what holds a digit, a slash or an @ (numbers,
identifiers, paths, addresses) is no word, because it changes without meaning anything.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from pipeline.remembered import Remembered

BITS: Final = 96
MOST_WORDS: Final = 127
# Letters by which a word is known: `search`, `searched` and `searching` are one word.
STEM: Final = 6
# Hashes in a sample of words.
SAMPLE: Final = 20
# Of longer texts the beginning and the end are looked at.
MOST_CHARS: Final = 3_072

# Of bytes, which costs a sixth of the same for characters; all of them are ASCII, so that no other letter is touched.
_DELIMITERS: Final = bytes.maketrans(b"\"'`,;:(){}[]<>=|\x1f", b" " * 17)
_VOLATILE: Final = re.compile(r"[\d/\\@]")
_LETTERS: Final = re.compile(r"[^\W\d_]{3,}")
# Writing without spaces between words: pairs of characters stand for words.
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")
_FUNCTION_WORDS: Final = frozenset(
    # English
    "the and for are but not you all any can had her was one our out has him his how its may new now old see two who "
    "did get let she too use that with have this will your from they know want been good much some time very when "
    "come here just like long make many more only over such take than them well were what which would there their "
    "about other these could should into then also because does doing done each few had himself itself most must off "
    "once own same those through under until while whom why again further above below being between both down "
    "during before after against yours ours theirs myself yourself really please okay sure "
    # German, French, Spanish, Italian, Portuguese, Dutch
    "der die das und ist nicht ein eine einen einem einer den dem des mit auf für von sich auch als wie sie wir ihr "
    "ich noch nur oder aber wenn dass werden wird sind hat haben bei aus nach zum zur über "
    "les des est pas une que qui dans pour sur avec plus par ont mais ses son elle nous vous leur cette ces aux "
    "los las del una por con para como pero más este esta esto ese esa son fue hay muy sin sobre también "
    "che non per una sono con del della dei delle nel nella più come anche questo questa gli "
    "não uma com por para mais como mas dos das foi ele ela são sua seu muito "
    "het een van dat niet voor met zijn maar ook bij naar deze wordt heeft "
    # of dates, and what surrounds an answer
    "jan feb mar apr jun jul aug sep oct nov dec mon tue wed thu fri sat sun gmt utc "
    "http https www com null none true false".split()
)
_BYTES: Final = bytes(1 if byte == 49 else 0 for byte in range(256))
_DIGITS: Final = bytes(49 if byte & 0x80 else 48 for byte in range(256))
_ONES: Final = int.from_bytes(b"\x01" * BITS, "big")

# The largest prime below 65,536.
_PRIME: Final = 65_521


class Words(NamedTuple):
    """What `read` finds in a text.

    Attributes:
        loose: Its different words in lower case and in order, with a `0` where anything is volatile.
        content: The different words of content, each cut to STEM letters; at most MOST_WORDS.
        volatile: What holds a digit, a slash or an @: each once, in order, in lower case.
    """

    loose: str
    content: list[str]
    volatile: list[str]


def read(text: str) -> Words:
    """Take a text apart; of a long one only MOST_CHARS."""
    if len(text) > MOST_CHARS:
        text = f"{text[: 2 * MOST_CHARS // 3]} {len(text)} {text[-MOST_CHARS // 3 :]}"
    spaced = text.encode("utf-8", "surrogatepass").translate(_DELIMITERS).decode("utf-8", "surrogatepass")
    apart = [_APART[token] for token in dict.fromkeys(spaced.split())]
    loose = [word for word, stems in apart if stems is not None]
    volatile = [word for word, stems in apart if stems is None] if len(loose) < len(apart) else []
    content = dict.fromkeys([stem for _, stems in apart if stems for stem in stems])
    if volatile:
        loose.append("0")
    words = list(content)
    if not text.isascii():
        words = _with_pairs(words, text)
    if len(words) > MOST_WORDS:
        half = MOST_WORDS // 2
        words = [*words[:half], *words[-half:]]
    return Words(" ".join(loose), words, volatile)


def _apart(token: str) -> tuple[str, tuple[str, ...] | None]:
    """A token in lower case and the stems of its words of content; None for those of what is volatile."""
    word = token.lower()
    if token.isalpha():
        # `DEN` is a place, `den` is a word of German.
        is_content = len(word) > 2 and (word not in _FUNCTION_WORDS or token.isupper())
        return word, (word[:STEM],) if is_content else ()
    if _VOLATILE.search(token):
        return word, None
    return word, tuple(part[:STEM] for part in _LETTERS.findall(word) if part not in _FUNCTION_WORDS)


# Tokens over all tenants: about 8 MB.
_APART: Final = Remembered(_apart, most=32_768, longest=40)


def _with_pairs(content: list[str], text: str) -> list[str]:
    words = [word for word in content if not _UNSPACED.match(word)]
    for run in _UNSPACED.findall(text):
        words += [run[place : place + 2] for place in range(max(1, len(run) - 1))]
    return list(dict.fromkeys(words))


def sketch(words: list[str], key: bytes) -> int:
    """The sketch of at most MOST_WORDS different words; 0 for none.

    Args:
        words: As `read` gives them.
        key: Secret of the tenant, at most 64 bytes; sketches under different keys have nothing in common.
    """
    if not words:
        return 0
    total, count = sum([_hashed(word, key)[0] for word in words]), len(words)
    if count % 2 == 0:
        # So that there are no ties.
        total += _hashed("", key)[0]
        count += 1
    # Each byte counts the words that have the bit; with this its highest bit says whether they are most.
    total += _ONES * (127 - count // 2)
    return int(total.to_bytes(BITS, "big").translate(_DIGITS), 2)


def sample(words: list[str], key: bytes) -> tuple[int, ...]:
    """The smallest SAMPLE of the words' keyed 16-bit hashes, in order.

    The smallest of several texts' samples are the sample of all their words, so that it can be seen without the words
    whether a text brings new ones (Broder, "On the resemblance and containment of documents", 1997).
    """
    return tuple(sorted({_hashed(word, key)[1] for word in words})[:SAMPLE])


def cosine(different: int, bits: int = BITS) -> float:
    """Cosine of the words of two texts, -1 to 1, of whose sketches so many bits differ; within about 0.1."""
    return math.cos(math.pi * different / bits)


@lru_cache(maxsize=32_768)
def _hashed(word: str, key: bytes) -> tuple[int, int]:
    """The keyed bits of a word, each in a byte of its own, so that words can be counted by adding them up; and 16 bits.

    Words known over all tenants: about 13 MB.
    """
    digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=BITS // 8, key=key[:64]).digest()
    bits = format(int.from_bytes(digest, "big"), f"0{BITS}b").encode()
    vector = int.from_bytes(bits.translate(_BYTES), "big")
    return vector, vector % _PRIME
