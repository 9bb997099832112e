"""What can go wrong with redaction as a whole; what goes wrong with one text is a reason code, never an exception.

FatalError
└── EngineError           the engine cannot be built as configured (a part is missing, the self-test failed)
RetryableError
└── RedactorUnavailable   no worker can be had right now; nothing was redacted, repeat the whole range
"""

from __future__ import annotations

from pipeline.errors import FatalError, RetryableError


class EngineError(FatalError):
    """The engine cannot be built as configured; starting again changes nothing until somebody repairs the cause."""


class RedactorUnavailable(RetryableError):
    """No worker process answers and none could be started; no text of this call was judged, so repeat the call."""
