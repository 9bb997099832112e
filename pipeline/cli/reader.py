"""ClickHouse for people who ask: reading only, with a limit on time and rows, and its refusals in one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli.context import settings_for
from pipeline.errors import TokentrailError, UsageError
from pipeline.storage.client import ClickHouseError, Client, Parameters, explaining

if TYPE_CHECKING:
    from pipeline.settings import Settings

# Error codes of ClickHouse that a person can do something about.
ACCESS_DENIED: Final = 497
_THROWN: Final = 395  # by throwIf: of a row policy that asks for a reason
# As the row policy has it (infra/access/matrix.py).
SHORTEST_REASON: Final = 8
_UNKNOWN_USER: Final = (192, 516)
_TOO_SLOW: Final = (159, 160)
_NOT_MIGRATED: Final = (60, 81)
_SYNTAX: Final = (36, 43, 46, 47, 62, 164)
_WORDS: Final = re.compile(
    r"DB::Exception: (?P<words>.*?)\s*(\([A-Z_]+\))?\s*(\(version [^)]*\))?\s*(\(for url [^)]*\))?$", re.S
)


@dataclass(frozen=True)
class Answer:
    """A result: column names, rows, and whether there were more rows than were asked for."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    cut: bool = False


class Reader:
    """A client that cannot change anything, whoever it is; unqualified tables are the installation's.

    Args:
        settings: The installation; its user decides what may be read.
        timeout_s: Longest run of one query.
        reason: Why text is read; it is kept with who read it and when. Without one the server gives no text to users
            that must say why.
    """

    def __init__(self, settings: Settings, timeout_s: float = 60.0, reason: str = "") -> None:
        self._client = Client(settings, purpose="query", timeout_s=timeout_s + 10, in_database=True)
        self.settings = settings
        self.user = settings.clickhouse_user
        self.reason = reason
        self._limits = {
            "readonly": 2,
            "max_execution_time": timeout_s,
            "log_comment": explaining("query", reason),
        }

    def ask(self, sql: str, parameters: Parameters | None = None, most_rows: int = 0) -> Answer:
        """Run a query; at most `most_rows` rows (0: all of them).

        Raises:
            UsageError: ClickHouse does not understand it, or the user may not read that.
            TokentrailError: It took too long, or the server has another trouble.
        """
        columns: tuple[str, ...] = ()
        rows: list[tuple[Any, ...]] = []
        for columns, block in self.blocks(sql, parameters, most_rows + 1 if most_rows else 0):
            rows += block
            if most_rows and len(rows) > most_rows:
                return Answer(columns, rows[:most_rows], True)
        return Answer(columns, rows)

    def blocks(
        self, sql: str, parameters: Parameters | None = None, most_rows: int = 0
    ) -> Iterator[tuple[tuple[str, ...], list[tuple[Any, ...]]]]:
        """(column names, rows) block by block; the server stops soon after `most_rows`. Raises as `ask`."""
        limits: dict[str, Any] = dict(self._limits)
        if most_rows:
            limits |= {"max_result_rows": most_rows, "result_overflow_mode": "break"}
        try:
            for columns, block in self._client.blocks(sql, parameters, limits):
                yield columns, [tuple(row) for row in block]
        except ClickHouseError as error:
            raise explained(error, self.user) from None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def reader_for(data: Path | None, user: str | None, timeout_s: float = 60.0, reason: str = "") -> Reader:
    """A reader as a user of the embedded server (default `auditor`, who reads no text), or as the settings' user.

    Raises:
        UsageError: There is no such user or no such installation, or the reason is too short to be one.
        ClickHouseError: The server cannot be reached.
    """
    if reason and len(reason.strip()) < SHORTEST_REASON:
        raise UsageError(f"A reason has at least {SHORTEST_REASON} characters: a case, a ticket, who asked for it.")
    try:
        known = {"clickhouse_user": user} if user else {}
        settings = settings_for(data, user=user or "auditor", **known)
    except TokentrailError:
        raise
    except Exception as error:  # the embedded servers' own errors
        from infra.embedded.errors import EmbeddedError

        if isinstance(error, EmbeddedError):
            raise UsageError(str(error)) from None
        raise
    try:
        return Reader(settings, timeout_s, reason.strip())
    except ClickHouseError as error:
        raise explained(error, settings.clickhouse_user) from None


def explained(error: ClickHouseError, user: str) -> TokentrailError:
    """What ClickHouse said, for the person who asked."""
    match = _WORDS.search(error.detail)
    words = " ".join((match.group("words") if match else error.detail).split())
    if error.code is None:
        return TokentrailError(f"ClickHouse could not be reached ({words}). `tokentrail doctor` looks after it.")
    if error.code == ACCESS_DENIED:
        return Refused(f"ClickHouse lets {user} not read that ({words}). Name another user with --user.")
    if error.code == _THROWN and "needs a reason" in words:
        return Refused(
            f"{user} must say why it reads text: --reason TEXT. The reason is kept with the name and time.",
            lacks_reason=True,
        )
    if error.code in _UNKNOWN_USER:
        return UsageError(f"ClickHouse does not let {user} in: no such user, or another password.")
    if error.code in _TOO_SLOW:
        return TokentrailError(f"The query took too long ({words}). Ask for less, or allow more with --timeout.")
    if error.code in _NOT_MIGRATED:
        return UsageError(f"ClickHouse has no such table ({words}). `tokentrail migrate` makes those of the contract.")
    return UsageError(f"ClickHouse does not take it: {words}")


class Refused(UsageError):
    """The user may not read that.

    Attributes:
        lacks_reason: It may, when it says why.
    """

    def __init__(self, words: str, *, lacks_reason: bool = False) -> None:
        super().__init__(words)
        self.lacks_reason = lacks_reason
