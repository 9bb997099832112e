"""Raw bytes to an event, or a reason code and a path. Must never say a value: error text travels, values do not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.errors import PoisonError
from schemas.event import Event

DAY_MS: Final = 86_400_000
# Before language model calls existed, and further ahead than any clock should be.
EARLIEST_TS_MS: Final = 1_420_070_400_000  # 2015-01-01
LATEST_AHEAD_MS: Final = DAY_MS

_decoder = msgspec.json.Decoder(Event)
_keys_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_PATH: Final = re.compile(r"at `(key in )?(\$[A-Za-z0-9_.\[\]]*)`$")
_KNOWN: Final = frozenset(Event.__struct_fields__)


def decode(value: bytes | None, received_at: int) -> Event:
    """Decode and check one raw record.

    Args:
        value: The record's value.
        received_at: The broker's append time, milliseconds since 1970.

    Raises:
        PoisonError: With reason `empty`, `not_json`, `bad_unicode`, `too_deep`, `missing`, `wrong_type` or
            `out_of_range`, and the path of the field.
    """
    if not value:
        raise PoisonError("empty")
    try:
        event = _decoder.decode(value)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except RecursionError:
        raise PoisonError("too_deep") from None
    except UnicodeDecodeError:
        raise PoisonError("bad_unicode") from None
    except msgspec.DecodeError as error:
        text = str(error)
        raise PoisonError("bad_unicode" if "utf-" in text.lower() else "not_json") from None
    if event.ts is not None and not EARLIEST_TS_MS <= event.ts <= received_at + LATEST_AHEAD_MS:
        raise PoisonError("out_of_range", "$.ts")
    return event


def _invalid(text: str) -> PoisonError:
    """Turn msgspec's sentence, which may quote the value, into a reason and a path, which never do."""
    match = _PATH.search(text)
    path = match.group(2) if match else "$"
    if "missing required field" in text:
        return PoisonError("missing", f"{path}.tenant" if path == "$" else path)
    if text.startswith(("Expected `int` >", "Expected `int` <", "Expected `float` >", "Expected `float` <")) or (
        "out of range" in text or "of length" in text
    ):
        return PoisonError("out_of_range", path)
    return PoisonError("wrong_type", path)


def unknown_fields(value: bytes) -> int:
    """How many fields of the outermost object the contract does not know; they are dropped."""
    try:
        return sum(1 for key in _keys_decoder.decode(value) if key not in _KNOWN)
    except msgspec.MsgspecError:
        return 0


def header(headers: Sequence[tuple[str, bytes]] | None, name: str) -> str | None:
    """One Kafka header as text; None where it is absent or no UTF-8."""
    for key, value in headers or ():
        if key == name:
            try:
                return value.decode()
            except (UnicodeDecodeError, AttributeError):
                return None
    return None
