"""What an exception says about a call to a language model: status, and the event's `error` object.

Providers' libraries are not imported here: attributes and class names are read, none of which may raise out of this
module.
"""

from __future__ import annotations

from typing import Any, Callable

from .plain import repair

_MAX_MESSAGE_CHARS = 4_000
_MAX_CODE_CHARS = 100
_TIMEOUT_STATUS = (408, 504)
_TIMEOUT_NAMES = ("timeout", "timedout", "deadlineexceeded")
_RATE_NAMES = ("ratelimit", "toomanyrequests", "resourceexhausted", "throttl", "quotaexceeded")


def explain(error: BaseException) -> tuple[str, dict[str, Any]]:
    """The status (`error`, `timeout`, `rate_limited`) and the event's `error` object that an exception amounts to."""
    if not isinstance(error, Exception):
        # Cancelled from outside: KeyboardInterrupt, CancelledError, GeneratorExit, ...
        return _status(error, None, None), {"type": _class_name(type(error)), "code": "cancelled"}
    found = {
        "type": _try(lambda: _class_name(type(error))),
        "code": _try(lambda: _code(error)),
        "message": _try(lambda: repair(str(error)[:_MAX_MESSAGE_CHARS])),
        "http_status": _try(lambda: _http_status(error)),
        "retry_after_s": _try(lambda: _retry_after_s(error)),
    }
    status = _try(lambda: _status(error, found["http_status"], found["code"])) or "error"
    return status, {name: value for name, value in found.items() if value not in (None, "")}


def _try(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception:
        return None


def _class_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _status(error: BaseException, http_status: int | None, code: str | None) -> str:
    names = [kind.__name__.lower() for kind in type(error).__mro__] + [(code or "").lower().replace("_", "")]
    if http_status == 429 or any(word in name for name in names for word in _RATE_NAMES):
        return "rate_limited"
    if http_status in _TIMEOUT_STATUS or any(word in name for name in names for word in _TIMEOUT_NAMES):
        return "timeout"
    return "error"


def _http_status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    places: list[Callable[[], Any]] = [
        lambda: getattr(error, "status_code", None),
        lambda: getattr(error, "http_status", None),
        lambda: getattr(error, "status", None),
        lambda: getattr(error, "code", None),
        lambda: getattr(response, "status_code", None),
        lambda: getattr(response, "status", None),
        lambda: response["ResponseMetadata"]["HTTPStatusCode"] if isinstance(response, dict) else None,
    ]
    for read in places:
        value = _try(read)
        if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
            return int(value)
    return None


def _code(error: BaseException) -> str | None:
    """The provider's own word for the error, where it is short."""
    response = getattr(error, "response", None)
    for read in (
        lambda: getattr(error, "code", None),
        lambda: response["Error"]["Code"] if isinstance(response, dict) else None,
    ):
        value = _try(read)
        if isinstance(value, str) and 0 < len(value) <= _MAX_CODE_CHARS:
            return repair(value)
    return None


def _retry_after_s(error: BaseException) -> float | None:
    own = _try(lambda: getattr(error, "retry_after", None))
    headers = getattr(getattr(error, "response", None), "headers", None)
    value = own if own is not None else (headers.get("retry-after") if headers is not None else None)
    seconds = float(value) if isinstance(value, (str, int, float)) else -1.0
    return seconds if 0 <= seconds < 1e9 else None
