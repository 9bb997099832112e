"""Stored facts and partials, from Kafka or from a file of them: what rules can be tried on. Blocking.

A file is gzip of JSON lines: first `{"partitions"}`, then `{"topic", "at", "value"}` in the order in which it is to be
played: the partitions' facts, each in its order, then the partials. It holds no text, but keyed hashes.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from pipeline.errors import UsageError
from pipeline.settings import Settings
from pipeline.transport.tail import Reader
from schemas.fact import Fact
from schemas.partial import Partials

Topic = Literal["facts", "partials"]
SPEED: Final = 1  # zlib level: written once, read a few times


class Line(msgspec.Struct):
    """One record: its topic, its time in the log in ms, and the record itself."""

    topic: Topic
    at: int
    value: msgspec.Raw


class _Head(msgspec.Struct):
    partitions: int


@dataclass(frozen=True, slots=True)
class History:
    """A history: its number of source partitions, and its records, once."""

    partitions: int
    lines: Iterator[Line]


_head = msgspec.json.Decoder(_Head).decode
_line = msgspec.json.Decoder(Line).decode
_fact = msgspec.json.Decoder(Fact).decode
_partials = msgspec.json.Decoder(Partials).decode


def stored(settings: Settings) -> History:
    """Every fact and every record of partials that Kafka still holds.

    Raises:
        RetryableError: Kafka cannot be read now.
    """
    return History(settings.partitions, _stored(settings))


def _stored(settings: Settings) -> Iterator[Line]:
    topics: tuple[tuple[Topic, int], ...] = (("facts", settings.partitions), ("partials", 1))
    with Reader(settings) as reader:
        for topic, partitions in topics:
            for partition in range(partitions):
                start, end = reader.bounds(topic, partition)
                for record in reader.read(topic, partition, start, end):
                    if record.value is not None:
                        yield Line(topic, record.timestamp, msgspec.Raw(record.value))


def save(history: History, path: Path) -> Iterator[Line]:
    """Write a history, and hand on its lines as they go by; a file of that name is replaced when all are written.

    Raises:
        UsageError: The file cannot be written.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with _writing(path), gzip.open(unfinished, "wb", compresslevel=SPEED) as file:
            file.write(msgspec.json.encode(_Head(history.partitions)) + b"\n")
        with gzip.open(unfinished, "ab", compresslevel=SPEED) as file:
            for line in history.lines:
                with _writing(path):
                    file.write(msgspec.json.encode(line) + b"\n")
                yield line
        with _writing(path):
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"The history {path} cannot be written: {error.strerror or error}.") from error


def saved(path: Path) -> History:
    """The history of a file; whoever goes through its lines meets the same errors.

    Raises:
        UsageError: It cannot be read, or is no history.
    """
    lines = _texts(path)
    try:
        head = _head(next(lines, b""))
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path} is no history: write one with `tokentrail rules history`.") from error
    return History(head.partitions, _saved(path, lines))


def _saved(path: Path, lines: Iterator[bytes]) -> Iterator[Line]:
    for number, text in enumerate(lines, 2):
        try:
            yield _line(text)
        except msgspec.MsgspecError as error:
            raise UsageError(f"{path}, line {number}, is no record of a history: {error}.") from error


def _texts(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path, "rb") as file:
            yield from file
    except (OSError, EOFError) as error:
        raise UsageError(f"The history {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def record_of(line: Line) -> Fact | Partials | None:
    """The record of a line; None where another version of tokentrail wrote it."""
    try:
        return _fact(line.value) if line.topic == "facts" else _partials(line.value)
    except msgspec.MsgspecError:
        return None
