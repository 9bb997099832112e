"""What `tokentrail doctor` looks at, a module for each part; every check gives findings and raises nothing of its own.

A finding says what is so and, where it is not well, what to do. Never a secret, never event text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import TokentrailError

State = Literal["ok", "warn", "FAIL"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor.

    Attributes:
        part: What was looked at.
        state: `FAIL` when something does not hold, `warn` when it will not hold for long or is unusual.
        said: What is so.
        todo: What to do about it; empty where nothing is to be done.
    """

    part: str
    state: State
    said: str
    todo: str = ""


def ok(part: str, said: str) -> Finding:
    """All is well."""
    return Finding(part, "ok", said)


def warn(part: str, said: str, todo: str) -> Finding:
    """Look at it when there is time."""
    return Finding(part, "warn", said, todo)


def fail(part: str, said: str, todo: str) -> Finding:
    """It does not hold."""
    return Finding(part, "FAIL", said, todo)


def guarded(part: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """The findings of a check; one that cannot be made is a finding too."""
    try:
        return list(check())
    except TokentrailError as error:
        return [fail(part, str(error), "Look at the lines above first.")]
    except Exception as error:  # a doctor that falls over helps nobody; texts of foreign errors may hold anything
        return [fail(part, f"could not be looked at ({type(error).__name__}).", "Look at the lines above first.")]
