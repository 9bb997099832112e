"""Which of several sets of patterns can match a text at all, asked in microseconds; knows no recogniser and no Presidio.

The same sieve works in a worker, before its recognisers, and in the worker's parent, before the worker: it can be handed
over as bytes. Its answer may name too many, never too few.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from pipeline.redaction.derive import Necessity, counts, enough, stand_in
from pipeline.redaction.errors import EngineError
from pipeline.redaction.fold import telling

try:
    import hyperscan
except ImportError:  # no wheel for this platform
    hyperscan = None

HAS_HYPERSCAN: Final = hyperscan is not None


class Portable(msgspec.Struct, frozen=True):
    """A sieve as bytes for another process of the same installation; `more` is asked by counts and windows."""

    needed: list[list[Necessity]]
    database: bytes
    more: list[list[Necessity]]


@lru_cache(maxsize=4)
def _compiled(needed: tuple[Necessity, ...]) -> bytes:
    """The database of patterns, as bytes; engines of one process share the second that it takes."""
    return bytes(hyperscan.dumpb(_compile(needed)))


class Sieve:
    """Finds the sets of which some pattern may match.

    Memory: about 2 MB for the compiled database of a hundred patterns.

    Args:
        needed: for each set what its patterns need.
        database: the same compiled before, as `dump` gave it; one that does not load is compiled again.
        hyperscan: False asks counts and windows in Python instead.
    """

    def __init__(
        self, needed: Sequence[Sequence[Necessity]], *, database: bytes | None = None, hyperscan: bool = True
    ) -> None:
        self._needed = [list(need) for need in needed]
        self._flat = [(i, n) for i, need in enumerate(self._needed) for n in need]
        self._owner = [i for i, _ in self._flat]
        self._lock = threading.Lock()  # a database has one scratch space
        self._database: Any = None
        if hyperscan and HAS_HYPERSCAN and self._flat:
            self._database = _load(database) if database else None
            if self._database is None:
                self._database = _load(_compiled(tuple(n for _, n in self._flat)))
            if self._database is None:
                raise EngineError("a database that Hyperscan has just compiled does not load; reinstall its package")
        self._python = [] if self._database else [(i, n.least, re.compile(n.window)) for i, n in self._flat]
        self._more: Sieve | None = None

    def dump(self, more: Sieve | None = None) -> bytes:
        """Everything that `load` needs, for this sieve and another that speaks beside it."""
        return msgspec.msgpack.encode(Portable(self._needed, self.database, more._needed if more else []))

    @classmethod
    def load(cls, data: bytes) -> Sieve:
        """A sieve handed over by a process of the same installation."""
        portable = msgspec.msgpack.decode(data, type=Portable)
        sieve = cls(portable.needed, database=portable.database, hyperscan=bool(portable.database))
        sieve._more = cls(portable.more, hyperscan=False) if portable.more else None
        return sieve

    def is_silent(self, text: str) -> bool:
        """Whether none of the sets can match a text, however it is read; False where that is not sure."""
        if not text.isascii() and telling().search(text):
            return False
        plain = stand_in(text)
        if plain is None or self.seen(plain) != []:
            return False
        return self._more is None or self._more.seen(plain) == []

    @property
    def database(self) -> bytes:
        """The compiled database, empty without Hyperscan."""
        return bytes(hyperscan.dumpb(self._database)) if self._database is not None else b""

    def seen(self, plain: str) -> list[int] | None:
        """Indexes of the sets that may match, in order; None if that could not be found out.

        Args:
            plain: a stand-in (`derive.stand_in`) of a text or of a line.
        """
        if self._database is None:
            return self._seen_by_python(plain)
        hits: list[int] = []
        try:
            with self._lock:
                self._database.scan(plain.encode("ascii"), match_event_handler=_note, context=hits)
        except Exception:  # whatever it is, the gate is open
            return None
        if not hits:
            return hits
        owner = self._owner
        return sorted({owner[i] for i in hits})

    def _seen_by_python(self, plain: str) -> list[int]:
        have = counts(plain)
        found: list[int] = []
        for i, least, window in self._python:
            if (not found or found[-1] != i) and enough(have, least) and window.search(plain):
                found.append(i)
        return found


def _note(number: int, _start: int, _end: int, _flags: int, hits: list[int]) -> None:
    hits.append(number)


def _compile(needed: Sequence[Necessity]) -> Any:
    try:
        return _compile_with(needed, hyperscan.HS_FLAG_SINGLEMATCH)
    except hyperscan.HyperscanError:  # a pattern is too large: weaken all of them, which is true but less sharp
        return _compile_with(needed, hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_PREFILTER)


def _compile_with(needed: Sequence[Necessity], flags: int) -> Any:
    database = hyperscan.Database()
    database.compile(
        expressions=[n.expression.encode("ascii") for n in needed],
        ids=list(range(len(needed))),
        elements=len(needed),
        flags=[flags | (hyperscan.HS_FLAG_CASELESS if n.nocase else 0) for n in needed],
    )
    return database


def _load(data: bytes) -> Any:
    try:
        database = hyperscan.loadb(data, hyperscan.HS_MODE_BLOCK)
        database.scratch = hyperscan.Scratch(database)
        return database
    except Exception:  # of another processor or version: compile
        return None
