"""Find and replace personal data, or replace the whole text: what comes out of here may be stored.

`Redactor` is what stages use. `Engine` runs inside its worker processes. `is_clean_identifier` judges readable names.
This room does no input or output besides its own worker processes, and must never log, store or send a text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.redaction.errors import EngineError, RedactorUnavailable
from pipeline.redaction.identifiers import is_clean_identifier
from pipeline.redaction.redactor import Redactor, Stats
from pipeline.redaction.replace import apply
from pipeline.redaction.treat import PLAIN, Treatment
from pipeline.redaction.values import REASONS, REPLACED, Finding, Redacted, RedactionConfig

if TYPE_CHECKING:
    from pipeline.redaction.engine import Engine

__all__ = [
    "PLAIN",
    "REASONS",
    "REPLACED",
    "Engine",
    "EngineError",
    "Finding",
    "Redacted",
    "RedactionConfig",
    "Redactor",
    "RedactorUnavailable",
    "Stats",
    "Treatment",
    "apply",
    "is_clean_identifier",
]


def __getattr__(name: str) -> Any:
    """Import `Engine` when it is asked for: it brings spaCy and Presidio, which parents of workers do not need."""
    if name == "Engine":
        from pipeline.redaction.engine import Engine

        return Engine
    raise AttributeError(name)
