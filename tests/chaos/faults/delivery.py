"""`delivery`: records that are in a log already are delivered once more, in order or in reverse.

In `calls.raw` that is a further event each, at a further position; in `facts` and `calls` it is a duplicate.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from confluent_kafka import Producer

from tests.chaos import events
from tests.chaos.faults.fault import Hit, Missed, hit
from tests.chaos.house import House


@dataclass(frozen=True)
class Delivery:
    """Appends the last `count` records of a partition to it again."""

    topic: str
    partition: int
    count: int
    reverse: bool
    kind: str = "delivery"
    side: str = "stream"

    def inject(self, house: House) -> Hit:
        end = house.ends(self.topic)[self.partition]
        if end < 10:
            raise Missed("there is nothing to deliver again")
        first = max(0, end - self.count)
        found = house.read(self.topic, self.partition, first, end)
        again: list[int] = []
        if self.topic == "calls.raw":
            # Another copy of a run that goes in circles would be another finding; bad records have no number.
            kept = []
            for one in found:
                number = _number(one.value())
                if number is not None and not events.loops(number):
                    again.append(number)
                    kept.append(one)
            found = kept
        producer = Producer(house.direct.librdkafka(**{"acks": "all", "enable.idempotence": True, "log_level": 0}))
        for one in reversed(found) if self.reverse else found:
            producer.produce(
                house.settings.topic(self.topic), one.value(), one.key(), self.partition, headers=one.headers()
            )
        assert producer.flush(60) == 0, "could not be delivered"
        order = "in reverse" if self.reverse else "in order"
        where = f"{self.topic}/{self.partition} {first} to {end}"
        told = hit(house, f"{len(found)} records of {self.topic} again, {order}", where=where)
        told.again = again
        return told

    def heal(self, house: House, hit: Hit) -> None:
        """Nothing to undo."""


def _number(value: bytes | None) -> int | None:
    try:
        step = orjson.loads(value or b"").get("step")
    except orjson.JSONDecodeError:
        return None
    return int(step) if step is not None else None
