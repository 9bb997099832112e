"""Prove at the start that an engine finds a known value of every type that it looks for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from pipeline.redaction import recognizers
from pipeline.redaction.errors import EngineError
from pipeline.redaction.kinds.known import KNOWN
from pipeline.redaction.values import Answer, RedactionConfig

_KNOWN_NAME: Final = ("PERSON", "I met ", "Robert Johnson", " in Chicago.")
# Presidio finds these without or with other words than our known values have.
_SAID_OTHERWISE: Final = frozenset({"PERSON", "LOCATION"})


def check(
    find: Callable[[Sequence[str]], list[Answer]],
    patterns: Sequence[Any],
    entities: Collection[str],
    config: RedactionConfig,
    *,
    names: bool,
) -> None:
    """Look for the known values.

    Raises:
        EngineError: one is not found, or none is known of a type.
    """
    ours = config.recognizers == "tokentrail"
    sought = {e for r in patterns if not recognizers.reads_tokens(r) for e in r.supported_entities}
    known = [
        *((e, *words) for e, words in KNOWN.items() if e in sought and (ours or e not in _SAID_OTHERWISE)),
        *([_KNOWN_NAME] if names else []),
    ]
    if ours and (silent := sought - KNOWN.keys()):
        raise EngineError(f"self-test: no value is known of {', '.join(sorted(silent))}; add one to `kinds.known`")
    texts = [before + value + after for _, before, value, after in known]
    for (entity, before, value, _), answer in zip(known, find(texts), strict=True):
        if entity not in entities:
            continue
        if isinstance(answer, str):
            raise EngineError(f"self-test: looking for {entity} in a known text failed ({answer})")
        start, end = len(before), len(before) + len(value)
        if not any(f.entity == entity and f.start <= start and f.end >= end for f in answer):
            raise EngineError(f"self-test: the known {entity} was not found; a recogniser or the model is broken")
