"""Load the recognisers, and refuse to go on with fewer than are expected.

Presidio drops a recogniser that it cannot load with a log line at most; here each expected one is checked by class.
Those of Presidio's that are too sure of themselves are replaced by stricter ones of ours (`kinds`), and what LLM
traffic holds besides is added. `recognizers="presidio"` leaves Presidio's alone.
"""

from __future__ import annotations

import hashlib
import importlib
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from presidio_analyzer import EntityRecognizer
from presidio_analyzer.recognizer_registry import RecognizerRegistryProvider

from pipeline.redaction import fold
from pipeline.redaction.errors import EngineError
from pipeline.redaction.kinds import (
    base,
    dates,
    lean,
    model,
    numbers,
    people,
    phones,
    places,
    secrets,
    shape,
    stricter,
    tokens,
)
from pipeline.redaction.values import RedactionConfig

EXPECTED: Final = frozenset(
    {
        "CreditCardRecognizer",
        "CryptoRecognizer",
        "DateRecognizer",
        "EmailRecognizer",
        "IbanRecognizer",
        "IpRecognizer",
        "MacAddressRecognizer",
        "MedicalLicenseRecognizer",
        "NhsRecognizer",
        "PhoneRecognizer",
        "UrlRecognizer",
        "UsBankRecognizer",
        "UsItinRecognizer",
        "UsLicenseRecognizer",
        "UsPassportRecognizer",
        "UsSsnRecognizer",
        "UuidRecognizer",
    }
)
"""Presidio's default pattern recognisers for English."""

REPLACED: Final = frozenset(
    {
        "DateRecognizer",
        "EmailRecognizer",
        "IpRecognizer",
        "PhoneRecognizer",
        "UrlRecognizer",
        "UsBankRecognizer",
        "UsLicenseRecognizer",
        "UsPassportRecognizer",
        "UsSsnRecognizer",
    }
)
"""Presidio's recognisers that stricter ones of ours stand in for."""

_SOURCES: Final = (base, dates, fold, lean, model, numbers, people, phones, places, secrets, shape, stricter, tokens)
_LIBRARIES: Final = ("presidio-analyzer", "regex", "phonenumbers", "tldextract", "spacy")


def load(config: RedactionConfig) -> list[Any]:
    """The default pattern recognisers and the user's own, in a fixed order.

    Raises:
        EngineError: if an expected recogniser is missing or one of the user's cannot be made.
    """
    provider = RecognizerRegistryProvider(registry_configuration={"supported_languages": [config.language]})
    recognizers = list(provider.create_recognizer_registry().recognizers)
    present = {type(r).__name__ for r in recognizers}
    if missing := EXPECTED - present:
        raise EngineError(f"Presidio did not load {', '.join(sorted(missing))}; install the locked versions")
    if config.recognizers == "tokentrail":
        recognizers = [r for r in recognizers if type(r).__name__ not in REPLACED] + ours()
    recognizers.extend(_load_extra(path) for path in config.extra_recognizers)
    return recognizers


def ours() -> list[Any]:
    """The recognisers that Presidio does not have, in a fixed order."""
    return [stricter.Mail(), stricter.Addresses(), stricter.Domains(), *(base.Kind(one) for one in sought())]


def sought() -> list[shape.Sought]:
    """What our recognisers seek, by shapes; without what they take over from Presidio."""
    return [
        phones.phones(),
        numbers.cards(),
        numbers.licenses(),
        *numbers.numbers(),
        *dates.dates(),
        places.streets(),
        places.codes(),
        places.towns(),
        people.people(),
        *secrets.secrets(),
    ]


def reads_tokens(recognizer: Any) -> bool:
    """Whether a recogniser may look at tokens: one of the user's may, Presidio's patterns and ours never do."""
    kind = type(recognizer)
    return not (kind.__name__ in EXPECTED or kind.__module__.startswith("pipeline.redaction.kinds."))


def _load_extra(path: str) -> Any:
    module_name, _, class_name = path.partition(":")
    try:
        recognizer = getattr(importlib.import_module(module_name), class_name)()
    except Exception as error:  # whatever a user's module raises, we must not start without it
        raise EngineError(f"the recogniser {path!r} cannot be loaded ({type(error).__name__}: {error})") from error
    if not isinstance(recognizer, EntityRecognizer):
        raise EngineError(f"{path!r} is no recogniser: its class must derive from presidio_analyzer.EntityRecognizer")
    return recognizer


def describe(recognizers: list[Any], config: RedactionConfig) -> list[object]:
    """Everything about the recognisers that can change findings, as plain values for the manifest."""
    described: list[object] = [[name, version(name)] for name in _LIBRARIES]
    for r in recognizers:
        patterns = [[p.name, p.regex, p.score] for p in getattr(r, "patterns", ())]
        patterns += [[s.name, s.pattern, s.score, s.flags] for s in getattr(r, "shapes", ())]
        described.append(
            [
                type(r).__qualname__,
                r.name,
                r.version,
                sorted(r.supported_entities),
                list(r.context or ()),
                int(getattr(r, "global_regex_flags", 0)),
                patterns,
                sorted(r.score_thresholds.items()),
            ]
        )
    if config.recognizers == "tokentrail":  # what their checks do is in their source
        described += [hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest() for module in _SOURCES]
    for path in config.extra_recognizers:
        source = importlib.import_module(path.partition(":")[0]).__file__
        described.append([path, hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""])
    return described
