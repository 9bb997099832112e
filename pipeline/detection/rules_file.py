"""The rules file: TOML to a `Ruleset`, or every mistake in it with its line and the reason. Pure: text in.

    ["cost.spike"]                    # a rule: parameters for all that it is judged for
    least_excess_usd = 1.0
    ["cost.spike".user]               # one dimension of it
    enabled = false
    [tenants.acme."cost.spike"]       # one tenant; [tenants.acme."cost.spike".feature] one dimension there
    shadow = true

What can be set of a rule are the fields of its recipe, see docs/reference/rules.md.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pipeline.detection.registry import BY_NAME, Entry
from pipeline.detection.ruleset import Ruleset, changed
from pipeline.errors import UsageError

TENANTS: Final = "tenants"
# More mistakes than anybody reads at once.
MOST_SHOWN: Final = 20

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong.

    Attributes:
        line: Line in the file, from 1.
        path: Where, as tables and key.
        reason: What is wrong, and what may stand there.
    """

    line: int
    path: Path
    reason: str

    def __str__(self) -> str:
        place = f"{'.'.join(self.path)}: " if self.path else ""
        return f"line {self.line}: {place}{self.reason}"


class RulesFileError(UsageError):
    """The file cannot be used.

    Attributes:
        mistakes: All of them, in the order of the file.
    """

    def __init__(self, mistakes: list[Mistake]) -> None:
        self.mistakes = sorted(mistakes, key=lambda one: one.line)
        shown = [str(one) for one in self.mistakes[:MOST_SHOWN]]
        if len(self.mistakes) > MOST_SHOWN:
            shown.append(f"... and {len(self.mistakes) - MOST_SHOWN} more")
        super().__init__("The rules cannot be used. " + "; ".join(shown))


def parse(text: str) -> Ruleset:
    """The rules of a file.

    Raises:
        RulesFileError: It is no TOML, or says something that no rule can mean.
    """
    try:
        body = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesFileError([_syntax(text, error)]) from None
    reader = _Reader(text)
    tenants = body.pop(TENANTS, {})
    settings = reader.settings(body, ())
    theirs: dict[str, Any] = {}
    if not isinstance(tenants, dict):
        reader.wrong((TENANTS,), 'must be a table of tables: [tenants.NAME."RULE"]')
        tenants = {}
    for tenant, table in tenants.items():
        if isinstance(table, dict):
            theirs[tenant] = reader.settings(table, (TENANTS, tenant))
        else:
            reader.wrong((TENANTS, tenant), 'must be a table of rules: [tenants.NAME."RULE"]')
    if reader.mistakes:
        raise RulesFileError(reader.mistakes)
    try:
        return Ruleset(settings, theirs)
    except msgspec.ValidationError as error:
        # Each layer is right by itself; together they are not.
        raise RulesFileError([Mistake(1, (), f"the tables together: {error}")]) from None


class _Reader:
    """Takes tables apart and notes what is wrong with them."""

    def __init__(self, text: str) -> None:
        self.mistakes: list[Mistake] = []
        self._lines = lines_of(text)

    def wrong(self, path: Path, reason: str) -> None:
        """Note a mistake at the closest place that the file has a line for."""
        known = next(path[:length] for length in range(len(path), -1, -1) if path[:length] in self._lines)
        self.mistakes.append(Mistake(self._lines[known], path, reason))

    def settings(self, body: dict[str, Any], above: Path) -> dict[str, dict[str, dict[str, Any]]]:
        """Parameters by rule and dimension."""
        found = {}
        for name, table in _unquoted(body):
            path = (*above, name)
            entry = BY_NAME.get(name)
            if entry is None:
                self.wrong(path, _unknown("rule", name, list(BY_NAME)))
            elif not isinstance(table, dict):
                self.wrong(path, "a rule is a table of its parameters")
            else:
                found[name] = self._rule(entry, table, path)
        return found

    def _rule(self, entry: Entry, table: dict[str, Any], path: Path) -> dict[str, dict[str, Any]]:
        parts = {name: part for name, part in table.items() if name in entry.dimensions and isinstance(part, dict)}
        general = {name: value for name, value in table.items() if name not in parts}
        self._try(next(iter(entry.dimensions.values())), general, path)
        for dimension, params in parts.items():
            self._try(entry.dimensions[dimension], params, (*path, dimension))
        return {"": general, **parts}

    def _try(self, default: Any, params: dict[str, Any], path: Path) -> None:
        """Each parameter by itself, so that one mistake does not hide another."""
        known = [*default.__struct_fields__]
        for name, value in params.items():
            if name not in known:
                self.wrong((*path, name), _unknown("parameter", name, known))
                continue
            try:
                changed(default, {name: value})
            except msgspec.ValidationError as error:
                self.wrong((*path, name), _reason(error, name))


def _unquoted(body: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Tables by rule, also where somebody wrote [cost.spike] without quotes, which TOML reads as two tables."""
    for name, value in body.items():
        full = f"{above}{name}"
        if full not in BY_NAME and isinstance(value, dict) and any(rule.startswith(f"{full}.") for rule in BY_NAME):
            yield from _unquoted(value, f"{full}.")
        else:
            yield full, value


def _unknown(what: str, name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"there is no such {what}" + (f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}")


def _reason(error: msgspec.ValidationError, name: str) -> str:
    """The sentence of msgspec; its path without the parameter's own name, which is said already."""
    text, _, place = str(error).partition(" - at `$.")
    place = place.rstrip("`").removeprefix(name).lstrip(".")
    return f"{text[:1].lower()}{text[1:]}" + (f" (at {place})" if place else "")


def _syntax(text: str, error: tomllib.TOMLDecodeError) -> Mistake:
    found = re.search(r"\(at line (\d+), column \d+\)", str(error))
    line = int(found[1]) if found else len(text.splitlines())
    return Mistake(max(1, line), (), re.sub(r" \(at [^)]*\)$", "", str(error)))


# -- lines


_HEADER: Final = re.compile(r"\s*(\[\[?)(.+?)(\]\]?)\s*(#.*)?$")
_NAME: Final = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_KEY: Final = re.compile(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=")


def lines_of(text: str) -> dict[Path, int]:
    """The line of every table and key, by its path with rules' names put together; () is line 1.

    `tomllib` knows no lines. What stands inside arrays and long texts over several lines is not looked at.
    """
    found: dict[Path, int] = {(): 1}
    table: Path = ()
    depth, quote = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if not depth and not quote:
            header, key = _HEADER.match(line), _KEY.match(line)
            if header is not None:
                table = _path(header[2])
                for length in range(1, len(table) + 1):
                    found.setdefault(table[:length], number)
                continue
            if key is not None:
                path = (*table, *_path(key[1], in_table=True))
                found.setdefault(path, number)
        depth, quote = _after(line, depth, quote)
    return found


def _path(dotted: str, *, in_table: bool = False) -> Path:
    try:
        body: Any = tomllib.loads(f"{dotted} = 1")
    except tomllib.TOMLDecodeError:
        return (dotted,)
    parts = []
    while isinstance(body, dict):
        name, body = next(iter(body.items()))
        parts.append(name)
    if in_table:
        return tuple(parts)
    # [cost.spike] is the same as ["cost.spike"].
    for start in (0, 2):
        joined = ".".join(parts[start : start + 2])
        if joined in BY_NAME and (start == 0 or parts[0] == TENANTS):
            return (*parts[:start], joined, *parts[start + 2 :])
    return tuple(parts)


_STRINGS: Final = re.compile(r'"""|\'\'\'|"(?:[^"\\]|\\.)*"|\'[^\']*\'|#.*|[\[\]{}]')


def _after(line: str, depth: int, quote: str) -> tuple[int, str]:
    """How deep in brackets and in which long text a line leaves us."""
    place = 0
    while place < len(line):
        if quote:
            end = line.find(quote, place)
            if end < 0:
                return depth, quote
            place, quote = end + len(quote), ""
            continue
        match = _STRINGS.search(line, place)
        if match is None:
            break
        token, place = match[0], match.end()
        if token in ('"""', "'''"):
            quote = token
        elif token in "[{":
            depth += 1
        elif token in "]}":
            depth -= 1
        elif token.startswith("#"):
            break
    return depth, quote
