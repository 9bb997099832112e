"""Where several patterns can match a text at all, asked in microseconds; knows no recogniser and no Presidio.

The same sieve works in a worker, before its recognisers, and in the worker's parent, before the worker: it can be
handed over as bytes. Its answer may name too much, never too little.
"""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

import msgspec

from pipeline.redaction import encoded, escapes, fold
from pipeline.redaction.derive import Necessity, counts, enough, stand_in
from pipeline.redaction.errors import EngineError
from pipeline.redaction.readings import readings

try:
    hyperscan: Any = importlib.import_module("hyperscan")
except ImportError:  # no wheel for this platform
    hyperscan = None

HAS_HYPERSCAN: Final = hyperscan is not None

Hit = tuple[int, int]
"""Number of a pattern, and a place (offset of a character) inside of every match that it can have around there.

Hyperscan's places are where matches end; for each end that a match can have there is a hit. Hits come by place.
"""

# What says that a text may read otherwise; these come behind the patterns in a compiled sieve, in this order.
_CLUES: Final = (escapes.CLUE, fold.CLUE, encoded.CLUE)
_ESCAPES: Final = (re.compile(escapes.CLUE), re.compile(fold.CLUE))
_RUNS: Final = re.compile(encoded.CLUE)
_PLACE: Final = itemgetter(1)
MOST_HITS: Final = 20_000
"""A text with more is searched by all: crafted ones must not buy time or memory with hits."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a sieve sees of a text: hits, and whether it may read otherwise (`readings`)."""

    hits: list[Hit]
    escapes: bool = False
    runs: bool = False


class Portable(msgspec.Struct, frozen=True):
    """A sieve as bytes for another process of the same installation."""

    needed: list[Necessity]
    database: bytes
    reads: bool = True


class Sieve:
    """Finds the places where patterns may match.

    Memory: about 3 MB for the compiled database of 170 patterns, and 20,000 hits of one text.

    Args:
        needed: what each pattern needs.
        database: the same compiled before, as `dump` gave it; one that does not load is compiled again.
        hyperscan: False asks counts and windows in Python instead.
        reads: whether other readings of a text count for its silence.
    """

    def __init__(
        self,
        needed: Sequence[Necessity],
        *,
        database: bytes | None = None,
        hyperscan: bool = True,
        reads: bool = True,
    ) -> None:
        self._reads = reads
        self._needed = list(needed)
        self._lock = threading.Lock()  # a database has one scratch space
        self._database: Any = None
        if hyperscan and HAS_HYPERSCAN and self._needed:
            self._database = _load(database) if database else None
            if self._database is None:
                self._database = _load(_compiled(tuple(self._needed)))
            if self._database is None:
                raise EngineError("a database that Hyperscan has just compiled does not load; reinstall its package")
        self._python = (
            [] if self._database else [(i, n.least, re.compile(n.window)) for i, n in enumerate(self._needed)]
        )

    def dump(self) -> bytes:
        """Everything that `load` needs."""
        return msgspec.msgpack.encode(Portable(self._needed, self.database, self._reads))

    @classmethod
    def load(cls, data: bytes) -> Sieve:
        """A sieve handed over by a process of the same installation."""
        portable = msgspec.msgpack.decode(data, type=Portable)
        return cls(portable.needed, database=portable.database, hyperscan=bool(portable.database), reads=portable.reads)

    @property
    def database(self) -> bytes:
        """The compiled database, empty without Hyperscan."""
        return bytes(hyperscan.dumpb(self._database)) if self._database is not None else b""

    def is_silent(self, text: str) -> bool:
        """Whether no pattern can match a text, however it reads; False where that is not sure."""
        plain = stand_in(text)
        seen = None if plain is None else self.scan(plain, most=0)
        if seen is None or seen.hits:
            return False
        if not self._reads or (text.isascii() and not seen.escapes and not seen.runs):
            return True
        return all(self._is_quiet(one.text) for one in readings(text, escapes=seen.escapes, runs=seen.runs))

    def _is_quiet(self, reading: str) -> bool:
        plain = stand_in(reading)
        seen = None if plain is None else self.scan(plain, most=0)
        return seen is not None and not seen.hits

    def scan(self, plain: str, most: int = MOST_HITS) -> Seen | None:
        """What is to be seen of a text; None if that could not be found out, or if there are more than `most` hits.

        Args:
            plain: a stand-in (`derive.stand_in`) of the text.
            most: how many hits are of use.
        """
        if self._database is None:
            found = self._hits_by_python(plain)
            if len(found) > most:
                return None
            return Seen(found, any(clue.search(plain) for clue in _ESCAPES), _RUNS.search(plain) is not None)
        hits: list[Hit] = []
        clues: list[int] = []
        first_clue = len(self._needed)

        def note(number: int, _start: int, end: int, _flags: int, _context: Any) -> bool | None:
            if number >= first_clue:
                clues.append(number - first_clue)
                return None
            hits.append((number, end - 1))
            return True if len(hits) > most else None

        try:
            with self._lock:
                self._database.scan(plain.encode("ascii"), match_event_handler=note)
        except Exception:  # also when told to stop; whatever it is, the gate is open
            return None
        if len(hits) > 1:
            hits.sort(key=_PLACE)
        return Seen(hits, 0 in clues or 1 in clues, 2 in clues) if clues else Seen(hits)

    def _hits_by_python(self, plain: str) -> list[Hit]:
        have = counts(plain)
        return sorted(
            (
                (i, match.start())
                for i, least, window in self._python
                if enough(have, least)
                for match in window.finditer(plain)
            ),
            key=_PLACE,
        )


@lru_cache(maxsize=4)
def _compiled(needed: tuple[Necessity, ...]) -> bytes:
    """The database of patterns, as bytes; engines of one process share the seconds that it takes."""
    try:
        return _compile(needed, 0)
    except hyperscan.HyperscanError:  # a pattern is too large: weaken all of them, which is true but less sharp
        return _compile(needed, hyperscan.HS_FLAG_PREFILTER)


def _compile(needed: Sequence[Necessity], flags: int) -> bytes:
    database = hyperscan.Database()
    expressions = [n.expression.encode("ascii") for n in needed] + [clue.encode("ascii") for clue in _CLUES]
    database.compile(
        expressions=expressions,
        ids=list(range(len(expressions))),
        elements=len(expressions),
        flags=[
            *(flags | (hyperscan.HS_FLAG_CASELESS if n.nocase else 0) for n in needed),
            *(hyperscan.HS_FLAG_SINGLEMATCH for _ in _CLUES),
        ],
    )
    return bytes(hyperscan.dumpb(database))


def _load(data: bytes) -> Any:
    try:
        database = hyperscan.loadb(data, hyperscan.HS_MODE_BLOCK)
        database.scratch = hyperscan.Scratch(database)
        return database
    except Exception:  # of another processor or version: compile
        return None
