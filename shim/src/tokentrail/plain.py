"""Turn whatever an application hands over into JSON's own types, without raising for what one value of it is.

The fast way is orjson by itself; this walk runs only when orjson refuses an event. It must not consume iterators (a
stream belongs to the application), must end on circular input, and lets no foreign `__str__` or `model_dump` break it.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import uuid
from collections.abc import Mapping, Sequence, Set
from typing import Any

MAX_DEPTH = 100
MAX_NODES = 200_000
MAX_FOREIGN_CHARS = 1_000
"""What an object of an unknown class says of itself is cut to this length."""

_INT_MIN, _INT_MAX = -(1 << 63), (1 << 64) - 1


class Unserialisable(Exception):
    """The event has more parts than a record could hold."""


def repair(text: str) -> str:
    """`text` without lone surrogates: pairs are joined, what stays alone becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def plain(value: Any) -> Any:
    """`value` as None, bool, int, float, str, list and dict with str keys.

    Raises:
        Unserialisable: for more than `MAX_NODES` parts; shared parts count each time they occur.
    """
    return _Walk().visit(value, 0)


class _Walk:
    def __init__(self) -> None:
        self._nodes = 0
        self._path: set[int] = set()

    def visit(self, value: Any, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Unserialisable(f"more than {MAX_NODES} parts")
        try:
            return self._visit(value, depth)
        except Unserialisable:
            raise
        except Exception:
            return _class_of(value)

    def _visit(self, value: Any, depth: int) -> Any:
        if value is None or value is True or value is False:
            return value
        if isinstance(value, enum.Enum):
            return self.visit(value.value, depth + 1) if depth < MAX_DEPTH else "<too deep>"
        if isinstance(value, str):
            return repair(str.__str__(value))
        if isinstance(value, int):
            return _integer(int(value))
        if isinstance(value, float):
            return float(value)
        scalar = _scalar(value)
        if scalar is not None:
            return scalar
        return self._container(value, depth)

    def _container(self, value: Any, depth: int) -> Any:
        if id(value) in self._path:
            return "<circular>"
        if depth >= MAX_DEPTH:
            return "<too deep>"
        self._path.add(id(value))
        try:
            opened = _open(value)
            if isinstance(opened, dict):
                return {_key(k): self.visit(v, depth + 1) for k, v in opened.items()}
            if isinstance(opened, list):
                return [self.visit(v, depth + 1) for v in opened]
            return opened
        finally:
            self._path.discard(id(value))


def _integer(value: int) -> int | float | str:
    if _INT_MIN <= value <= _INT_MAX:
        return value
    try:
        return float(value)
    except OverflowError:
        return "<integer>"


def _scalar(value: Any) -> Any:
    """A single JSON value for the well-known classes that have one, else None."""
    if isinstance(value, decimal.Decimal):
        return float(value) if value.is_finite() else math.nan  # orjson writes null
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return f"<{len(data)} bytes>"
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, uuid.UUID):
        return str(value)
    return None


def _open(value: Any) -> Any:
    """A container's parts as a fresh dict or list (another thread may be changing it), or a text for it."""
    if isinstance(value, (Mapping, Sequence, Set)):
        if len(value) > MAX_NODES:
            raise Unserialisable(f"a container of {len(value)} parts")
        return dict(value) if isinstance(value, Mapping) else list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    parts = _dumped(value)
    return repair(str(value)[:MAX_FOREIGN_CHARS]) if parts is None else parts


def _dumped(value: Any) -> Any:
    """What pydantic models, msgspec structs, attrs and numpy values make of themselves; None for every other class."""
    kind = type(value)
    if kind.__module__.partition(".")[0] == "numpy":
        return value.tolist() if getattr(value, "size", 1) <= MAX_NODES else None
    method = getattr(kind, "model_dump", None) or (getattr(kind, "dict", None) if hasattr(kind, "__fields__") else None)
    if callable(method):
        made = method(value)
        return made if isinstance(made, dict) else None
    names = getattr(kind, "__struct_fields__", None) or getattr(kind, "__attrs_attrs__", None)
    if isinstance(names, tuple):
        return {name: getattr(value, name, None) for name in (str(getattr(one, "name", one)) for one in names)}
    return None


def _key(key: Any) -> str:
    try:
        if isinstance(key, enum.Enum):
            key = key.value
        if isinstance(key, str):
            return repair(str.__str__(key))
        if isinstance(key, (bytes, bytearray)):
            return bytes(key).decode("utf-8", "replace")
        return repair(str(key)[:MAX_FOREIGN_CHARS])
    except Exception:
        return _class_of(key)


def _class_of(value: Any) -> str:
    return f"<{type.__getattribute__(type(value), '__name__')}>"
