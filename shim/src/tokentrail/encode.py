"""From what the application hands over to the JSON of one record, without what the outbox adds (producer, id, time).

The fast way is one copy of the mapping and orjson; everything unusual (foreign classes, lone surrogates, content modes,
oversize) takes the slow way, over a copy of JSON's own types. Nothing here knows Kafka.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

import orjson

from . import cut
from .content import Hasher, strictest, without_text
from .plain import plain

ROOM_BYTES = 512
"""Of an event's size, kept for what the outbox adds and for the key's overhead."""

Encoded = tuple[bytes, str, str, str, bool]
"""One event, ready to be numbered (a plain tuple, because `emit` makes one each time):

the JSON object in UTF-8, without `producer`; the tenant for the record's key, empty where the event has none; run, else
session, for the key, empty where the id is to be taken; the id that the application gave, which then is in the JSON,
empty where one is to be made; and whether the JSON has the time.
"""


_IDENTIFIERS = ("tenant", "run", "session", "user")
_RARE = ("id", "ts", "producer", "status", "backfill")


class Rejected(Exception):
    """An event that cannot be sent; `reason` is the word under which it is counted, the text quotes nothing of it."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Encoder:
    """Encodes the events of one trail.

    Args:
        defaults: Fields for events that do not have them.
        mode: Content mode: `full`, `hash` or `none`.
        max_event_bytes: Size of a record; longer events are cut.
        hasher: Makes keyed hashes of texts that are dropped or cut.
    """

    def __init__(self, defaults: Mapping[str, Any], mode: str, max_event_bytes: int, hasher: Hasher) -> None:
        self._defaults = tuple({"kind": "call", **plain(dict(defaults)), "content": mode}.items())
        self._mode = mode
        self._limit_bytes = max_event_bytes - ROOM_BYTES
        self._hasher = hasher

    def __call__(self, event: object) -> Encoded:
        """Encode one event.

        Raises:
            Rejected: when it is no mapping, or is too large whatever is cut.
            Exception: of any kind, for input that has no end.
        """
        if event.__class__ is dict or isinstance(event, Mapping):
            try:
                return self._encode(dict(event))
            except Rejected:
                raise
            except Exception:  # orjson's refusals, and whatever a foreign object raises
                return self._encode(plain(event))
        if _is_record(event):
            body = plain(event)
            if isinstance(body, dict):
                return self._encode(body)
        raise Rejected("not_a_mapping", f"emit takes a mapping, not {type(event).__name__}")

    def _encode(self, body: dict[str, Any]) -> Encoded:
        mode = self._complete(body)
        tenant: str = body.get("tenant", "")
        unit: str = body.get("run") or body.get("session") or ""
        event_id: str = body.get("id", "")
        has_ts = "ts" in body
        given = body.get("input")
        if given is not None:
            text = orjson.dumps(given, option=orjson.OPT_SERIALIZE_NUMPY)
            body["prompt_size_bytes"] = len(text)
            body["input"] = orjson.Fragment(text)  # not to write it twice
        if mode == "full":
            fields = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
            if len(fields) + 4 * (len(tenant) + len(unit)) <= self._limit_bytes:
                return fields, tenant, unit, event_id, has_ts
        body = plain({**body, "input": given})
        if given is None:
            del body["input"]
        if mode != "full":
            body = without_text(body, mode, self._hasher)
        fitting = cut.fit(body, self._limit_bytes - 4 * (len(tenant) + len(unit)), self._hasher)
        if fitting is None:
            raise Rejected("too_large", f"an event cannot be cut to {self._limit_bytes} bytes")
        return fitting, tenant, unit, event_id, has_ts

    def _complete(self, body: dict[str, Any]) -> str:
        """Put in what is missing and set right, in place, what the contract would refuse; returns the content mode."""
        get = body.get
        mode = self._mode
        if "content" in body:
            mode = body["content"] = strictest(mode, body["content"])
        for name, value in self._defaults:
            if get(name) is None:
                body[name] = value
        for name in _IDENTIFIERS:
            value = get(name)
            if value is not None and value.__class__ is not str:
                body[name] = _identifier(value)
        if get("input").__class__ is str:
            body["input"] = [{"role": "user", "content": body["input"]}]
        if get("output").__class__ is str:
            body["output"] = [{"role": "assistant", "content": body["output"]}]
        for name in _RARE:
            if name in body:
                _set_right(body, name)
        return mode


def _identifier(value: object) -> str:
    made = plain(value)
    return made if isinstance(made, str) else str(made)


def _set_right(body: dict[str, Any], name: str) -> None:
    """Fields that are the shim's, may not be null, or have a type that applications often get wrong."""
    value = body[name]
    if name == "producer" or value is None or value == "":
        del body[name]
    elif name == "id":
        body["id"] = _identifier(value)
    elif name == "ts" and value.__class__ is not int:
        body["ts"] = _milliseconds(value)


def _milliseconds(value: Any) -> Any:
    """A `ts` in other clothes (a datetime, which naive means local time, ISO 8601, a float) as whole milliseconds."""
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return value
    if isinstance(value, datetime.datetime):
        return int(value.timestamp() * 1000)
    return int(value) if isinstance(value, float) else value


def _is_record(event: object) -> bool:
    kind = type(event)
    if kind is type:
        return False
    return dataclasses.is_dataclass(event) or any(hasattr(kind, name) for name in ("model_dump", "__struct_fields__"))
