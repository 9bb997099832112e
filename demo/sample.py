"""A call of the played day that shows what redaction does: its prompt is full of personal data. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from demo.desk import Body

# An e-mail address, a card, a telephone number.
_SHOWS: Final = (re.compile(r"\S@\S"), re.compile(r"\b\d{16}\b"), re.compile(r"\+1 \d{3}-"))


def sample(events: Iterable[Body]) -> Body | None:
    """The first call with the most kinds of personal data in what its user wrote; None where no call carries text."""
    best: tuple[int, Body] | None = None
    for event in events:
        if event["kind"] != "call" or event["content"] != "full" or not event.get("output"):
            continue
        shows = sum(1 for pattern in _SHOWS if pattern.search(asked(event)))
        if best is None or shows > best[0]:
            best = (shows, event)
    return None if best is None else best[1]


def asked(event: Body) -> str:
    """What the user of a call wrote last."""
    texts = [message["content"] for message in event["input"] if message["role"] == "user"]
    return str(texts[-1]) if texts else ""
