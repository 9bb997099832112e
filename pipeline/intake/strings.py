"""Every string in a JSON value, for what only reads text; the walk that redaction needs is in `texts`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

MAX_DEPTH: Final = 32


def strings(value: Any, depth: int = 0) -> Iterator[str]:
    """Every string of a value that is nested no deeper than MAX_DEPTH."""
    if isinstance(value, str):
        yield value
    elif depth < MAX_DEPTH and isinstance(value, list):
        for item in value:
            yield from strings(item, depth + 1)
    elif depth < MAX_DEPTH and isinstance(value, dict):
        for item in value.values():
            yield from strings(item, depth + 1)
