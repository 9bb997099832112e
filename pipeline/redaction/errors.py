"""What can go wrong with redaction as a whole; what goes wrong with one text is a reason code, never an exception.

RedactionError
├── EngineError            fatal: the engine cannot be built as configured (a part is missing, the self-test failed)
└── RedactorUnavailable    retryable: no worker can be had right now; nothing was redacted, repeat the whole range
"""

from __future__ import annotations


class RedactionError(Exception):
    """Root of everything this room raises."""


class EngineError(RedactionError):
    """The engine cannot be built as configured; starting again changes nothing until somebody repairs the cause."""


class RedactorUnavailable(RedactionError):
    """No worker process answers and none could be started; no text of this call was judged, so repeat the call."""
