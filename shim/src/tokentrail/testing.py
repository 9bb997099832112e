"""For the tests of applications: a trail that keeps its events instead of sending them, without Kafka or a thread."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson

from .ids import new_id
from .trail import Trail


class Recorder(Trail):
    """A `Trail` whose events are in `events`, decoded, in the order of emission, as Kafka would have got them.

    Args:
        **settings: Those of `Trail`, for example `tenant=` and `content=`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "enabled": False})
        self.events: list[dict[str, Any]] = []

    def emit(self, event: Mapping[str, Any]) -> bool:
        """Keep one event; False for what a trail would drop."""
        with suppress(Exception):
            fields, *_ = self._encode(event)
            made = {"id": new_id(), "ts": time.time_ns() // 1_000_000}
            self.events.append({**made, **orjson.loads(fields)})
            return True
        return False
