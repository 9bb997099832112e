"""Raise the score of findings that have a telling word before them, by Presidio's rule at a fraction of its cost.

The rule is Presidio's `LemmaContextAwareEnhancer` in its default mode: the finding's own token and the five key words
before it, and the first key word from it on, are searched for the recogniser's context words. Presidio needs all tokens
of a text for that; here only the neighbourhood of a finding is tokenised, if the text holds such a word at all.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Final

from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer

from pipeline.redaction.language import Language

_REACH_CHARS: Final = 200
_MARGIN_TOKENS: Final = 3  # tokens next to a cut are not trusted
_WITH_COLON: Final = re.compile(r"\S*:\S*")
_SPACE: Final = re.compile(r"\s")


class Context:
    """Context words of recognisers, and the rule that applies them."""

    def __init__(self, language: Language, recognizers: Sequence[Any]) -> None:
        rule = LemmaContextAwareEnhancer()
        self._raise = rule.context_similarity_factor
        self._at_least = rule.min_score_with_context_similarity
        self._before = rule.context_prefix_count + 1
        self._after = rule.context_suffix_count + 1
        self._language = language
        self._words: Mapping[str, list[str]] = {r.id: [w.lower() for w in r.context or ()] for r in recognizers}

    def enhance(self, text: str, results: Sequence[Any], doc: Any) -> None:
        """Raise scores in place.

        Args:
            text: the text that was searched.
            results: Presidio's results, each with the identifier of its recogniser.
            doc: the text's tokens where they are known already, else None.

        Raises:
            ValueError: if a result lies behind the last word.
        """
        lowered = text.lower()
        todo = []
        for result in results:
            words = self._words[result.recognition_metadata[result.RECOGNIZER_IDENTIFIER_KEY]]
            if any(word in lowered for word in words):
                todo.append((result, words))
        if doc is None and len(todo) * 2 * _REACH_CHARS > len(text):
            doc = self._language.tokenize(text)  # cheaper than many parts of it
        neighbours = _Neighbours(self._language, text, lowered, doc, self._before, self._after)
        for result, words in todo:
            nearby = neighbours.of(result.start)
            if any(word in key_word for word in words for key_word in nearby):
                result.score = min(max(result.score + self._raise, self._at_least), 1.0)


class _Neighbours:
    """Key words around places in one text."""

    def __init__(self, language: Language, text: str, lowered: str, doc: Any, before: int, after: int) -> None:
        self._language = language
        self._text = text
        self._lowered = lowered
        self._doc = doc
        self._before = before
        self._after = after
        self._pieces: frozenset[str] | None = None
        self._known: dict[int, set[str]] = {}
        self._key_words: dict[str, bool] = {}

    def of(self, start: int) -> set[str]:
        """Key words at and before the token at `start`, and the first from it on; lower case."""
        found = self._known.get(start)
        if found is None:
            found = self._known[start] = self._look(start)
        return found

    def _look(self, start: int) -> set[str]:
        reach = _REACH_CHARS
        while True:
            if self._doc is not None:
                return self._walk(self._doc, start, whole_start=True, whole_end=True) or set()
            low, high = self._cut(start, reach)
            doc = self._language.tokenize(self._text[low:high])
            words = self._walk(doc, start - low, whole_start=low == 0, whole_end=high == len(self._text))
            if words is not None:
                return words
            reach *= 4

    def _cut(self, start: int, reach: int) -> tuple[int, int]:
        """Part of the text around a place, cut between white space and a word on both sides."""
        text, size = self._text, len(self._text)
        low = max(0, start - reach)
        while low > 0 and not (text[low - 1].isspace() and not text[low].isspace()):
            low -= 1
        space = _SPACE.search(text, min(size, start + reach))
        return low, space.start() if space else size

    def _walk(self, doc: Any, start: int, *, whole_start: bool, whole_end: bool) -> set[str] | None:
        """Collect key words, or None if the part ends too early."""
        size = len(doc)
        first = bisect_right(range(size), start, key=lambda i: doc[i].idx + len(doc[i]))
        if first == size:
            raise ValueError("a finding lies behind the last word")
        words: set[str] = set()
        left, i = self._before, first
        while left and i >= 0:
            left -= self._collect(doc[i].lower_, words)
            i -= 1
        if not whole_start and i < _MARGIN_TOKENS:
            return None
        left, i = self._after, first
        while left and i < size:
            left -= self._collect(doc[i].lower_, words)
            i += 1
        if not whole_end and i > size - _MARGIN_TOKENS:
            return None
        return words

    def _collect(self, word: str, words: set[str]) -> bool:
        is_key_word = self._key_words.get(word)
        if is_key_word is None:
            is_key_word = self._key_words[word] = self._is_key_word(word)
        if is_key_word:
            words.add(word)
        return is_key_word

    def _is_key_word(self, word: str) -> bool:
        """Neither a stop word nor punctuation, or part of such a word that was taken apart at its colons."""
        if ":" not in word and self._counts(word):
            return True
        if f":{word}" not in self._lowered and f"{word}:" not in self._lowered:
            return False
        if self._pieces is None:
            chunks = (self._language.tokenize(chunk) for chunk in _WITH_COLON.findall(self._text))
            tokens = {token.lower_ for doc in chunks for token in doc}
            self._pieces = frozenset(p for t in tokens if ":" in t and self._counts(t) for p in t.split(":"))
        return word in self._pieces

    def _counts(self, word: str) -> bool:
        language, code = self._language, self._language.language
        return not (word in ("-PRON-", "be") or language.is_stopword(word, code) or language.is_punct(word, code))
