"""The errors of the pipeline, one small tree.

    TokentrailError
    ├── RetryableError     the same range may succeed later: it is repeated, with back-off
    │   └── DeliveryError    some record of a range was not acknowledged: the whole range is repeated
    ├── PoisonError        this record can never succeed: it becomes a stub and a dead letter, its neighbours go on
    ├── UsageError         a person asked for something impossible: one sentence, exit code 2
    └── FatalError         going on would lose or double data: the process ends with `exit_code`
        ├── FencedError      another owner has taken the partition over
        ├── StuckError       a mark does not move although records are there
        └── UnknownEpochError  the topic is not the one that the epoch registry knows

Messages say what happened, to what, and what to do; they never hold event text.
"""

from __future__ import annotations


class TokentrailError(Exception):
    """Base of all our errors."""


class RetryableError(TokentrailError):
    """The same range may succeed later."""


class DeliveryError(RetryableError):
    """Not every record of a range was acknowledged by the broker.

    Attributes:
        failed: How many were not.
        reason: The broker's or client's words for the first of them.
    """

    def __init__(self, failed: int, reason: str) -> None:
        super().__init__(f"{failed} records were not acknowledged ({reason}); the whole range is sent again")
        self.failed = failed
        self.reason = reason


class PoisonError(TokentrailError):
    """A record that can never succeed.

    Attributes:
        reason: Reason code (`not_json`, `wrong_type`, ...).
        path: Where in the record, as a JSON path; never a value.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(f"{reason} at {path or 'the record'}")
        self.reason = reason
        self.path = path


class UsageError(TokentrailError):
    """A person asked for something that cannot be done; the message says what to do instead."""


class FatalError(TokentrailError):
    """Going on would lose or double data; the process must end."""

    exit_code = 70


class FencedError(FatalError):
    """Another owner has taken the partition over; this one must not write any more."""

    exit_code = 71


class StuckError(FatalError):
    """A mark does not move although later records are there: a hole that nobody explains."""

    exit_code = 72


class UnknownEpochError(FatalError):
    """The topic's id is not in the epoch registry: it was recreated, or `tokentrail migrate` was not run."""

    exit_code = 73
