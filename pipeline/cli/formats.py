"""Values of a report as a person reads them (units, ISO times) and as a machine does. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final, Literal
from uuid import UUID

from pipeline.cli.times import duration, iso

# count 1,234   money $1.23   ms 842 ms   share 12.3 %   size 1.2 MB   time ISO in UTC   ratio 2.1x   text as it is
Unit = Literal["text", "count", "money", "ms", "share", "size", "time", "ratio", "flag"]

RIGHT: Final = frozenset(("count", "money", "ms", "share", "size", "ratio"))
NOTHING: Final = "-"


def shown(value: Any, unit: Unit = "text") -> str:
    """A value for a person; a dash where there is none."""
    if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
        return "unknown" if unit == "money" else NOTHING
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "money":
        return money(value)
    if unit == "ms":
        return duration(float(value))
    if unit == "share":
        return f"{100 * value:.1f} %"
    if unit == "size":
        return size(float(value))
    if unit == "ratio":
        return f"{value:.2f}x"
    if unit == "flag":
        return "yes" if value else "no"
    return printable(_text(value))


def money(usd: Decimal | float) -> str:
    """US dollars with as many digits as say something: `$1,234.50`, `$0.0312`, `$0.00000125`."""
    amount = usd if isinstance(usd, Decimal) else Decimal(repr(float(usd)))
    sign, amount = ("-" if amount < 0 else ""), abs(amount)
    # Below a dollar three digits from the first that is not 0; money is counted in nano-dollars.
    digits = 2 if amount == 0 or amount >= 1 else min(9, max(4, 2 - amount.adjusted()))
    text = f"{amount.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN):,f}"
    if digits > 4:
        text = text.rstrip("0")
    return f"{sign}${text}"


def size(count: float) -> str:
    """Bytes: `512 B`, `1.2 kB`, `3.4 GB`."""
    for name in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} B" if name == "B" else f"{count:.1f} {name}"
        count /= 1000
    return f"{count:.1f} TB"


def printable(text: str) -> str:
    """The text without characters that a terminal would act on."""
    return "".join(character if character.isprintable() else " " for character in text)


def plain(value: Any) -> Any:
    """A value for JSON: times as ISO 8601 in UTC, bytes as hexadecimal digits, numbers as numbers, NaN as null."""
    if isinstance(value, datetime):
        return iso(value, milliseconds=True)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, str | Decimal):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    return str(value)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return iso(value, milliseconds=value.microsecond != 0)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date | UUID):
        return str(value)
    return str(value)
