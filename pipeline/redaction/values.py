"""The values that cross this room's border: a finding, a redacted text, the configuration and the reason codes.

Nothing here imports Presidio or spaCy, so that parents of worker processes stay small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

REPLACED: Final = "<REDACTION_FAILED>"
"""What stands in the place of a text about which there was any doubt."""

RECOGNISER_ERROR: Final = "recogniser_error"
REGEX_TIMEOUT: Final = "regex_timeout"
TIMEOUT: Final = "timeout"
TOO_LONG: Final = "too_long"
ENGINE_CRASHED: Final = "engine_crashed"
INVALID_UNICODE: Final = "invalid_unicode"
CANARY: Final = "canary"

REASONS: Final = frozenset(
    {RECOGNISER_ERROR, REGEX_TIMEOUT, TIMEOUT, TOO_LONG, ENGINE_CRASHED, INVALID_UNICODE, CANARY}
)
"""Every value that `Redacted.failed` can have besides None."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One span of personal data: entity type as Presidio names it, offsets in characters, score from 0 to 1."""

    entity: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is a finding: which recogniser, by which pattern, at what score. Holds no text."""

    entity: str
    start: int
    end: int
    score: float
    recognizer: str
    pattern: str


Answer: TypeAlias = list[Finding] | str
"""What the engine says about one text: its findings, or the reason code of a failure."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text that may be stored: `counts` says how many spans of which type were replaced.

    `failed` is None, or a reason code out of `REASONS`; then `text` is `REPLACED` and `counts` is empty.
    """

    text: str
    counts: Mapping[str, int]
    failed: str | None


@dataclass(frozen=True, slots=True)
class RedactionConfig:
    """How to redact. Everything that changes findings is part of the engine's manifest.

    Attributes:
        ner: find names, places, dates and groups with a spaCy model; False leaves the pattern recognisers alone.
        model: None is the small English model this distribution depends on; else a package name or a folder.
        language: only "en" for now.
        score_threshold: findings below it are dropped; Presidio's default is 0, which keeps all.
        entities: the types to look for; None is Presidio's default set (all, without ORGANIZATION).
        extra_recognizers: recognisers of yours as `package.module:Class`, classes derived from Presidio's
            `EntityRecognizer` that can be made without arguments.
        recognizers: "tokentrail": Presidio's, some of them made stricter, and ours for secrets, streets, ages and more;
            "presidio": Presidio's default ones as they are.
        gates: skip recognisers where they cannot find anything; the findings are the same without.
        hyperscan: gate with Hyperscan where it is installed; False uses the slower gate in Python.
        regex_timeout_s: processor time one pattern may take on one piece of text.
        timeout_base_s: a worker may take this long for any request, and `timeout_s_per_kilochar` more for each 1,000
            characters of it. Then it is killed and the guilty text replaced. Ample on purpose: it bounds damage, not
        delay. timeout_s_per_kilochar: see `timeout_base_s`.
        start_timeout_s: how long a worker may take to load and pass its self-test.
        max_chars: longer texts are replaced (`too_long`).
        chunk_chars: longer texts are judged in overlapping pieces of this size.
        overlap_chars: how much two pieces share; longer than any value a recogniser finds.
        batch_chars: characters sent to a worker, and through the model, at a time.
        cache_bytes: memory for spans of texts already seen; 0 turns the cache off.
        nice: how far worker processes stand back for others (Unix niceness).
    """

    ner: bool = True
    model: str | None = None
    language: str = "en"
    score_threshold: float = 0.0
    entities: tuple[str, ...] | None = None
    extra_recognizers: tuple[str, ...] = ()
    recognizers: Literal["tokentrail", "presidio"] = "tokentrail"
    gates: bool = True
    hyperscan: bool = True
    regex_timeout_s: float = 1.0
    timeout_base_s: float = 3.0
    timeout_s_per_kilochar: float = 0.3
    start_timeout_s: float = 60.0
    max_chars: int = 1_000_000
    chunk_chars: int = 20_000
    overlap_chars: int = 500
    batch_chars: int = 20_000
    cache_bytes: int = 64 * 1024 * 1024
    nice: int = 5

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            ValueError: naming the setting, what it is and what it must be.
        """
        if self.language != "en":
            raise ValueError(f"redaction language is {self.language!r}, but only 'en' is supported")
        if not 0 <= self.score_threshold <= 1:
            raise ValueError(f"score_threshold is {self.score_threshold}, but must lie between 0 and 1")
        if self.overlap_chars < 300 or self.chunk_chars < 4 * self.overlap_chars:
            raise ValueError("overlap_chars must be at least 300, and chunk_chars at least four times that")
        for name in ("regex_timeout_s", "timeout_base_s", "timeout_s_per_kilochar", "start_timeout_s", "max_chars"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be above 0")
        if self.batch_chars < 1 or self.cache_bytes < 0:
            raise ValueError("batch_chars must be at least 1 and cache_bytes at least 0")

    def timeout_s(self, chars: int) -> float:
        """Seconds that a worker may take to judge this many characters in one request."""
        return self.timeout_base_s + self.timeout_s_per_kilochar * chars / 1000
