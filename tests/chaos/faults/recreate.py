"""`recreated`: the raw topic is deleted and made again while all stages run; `migrate` counts a new epoch.

Whoever does that must let the pipeline come to the end of the old one first: what is deleted unread is gone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient

from pipeline.transport.admin import migrate_topics
from tests.chaos.faults.fault import Hit, hit
from tests.chaos.house import House
from tests.installation import wait_for


@dataclass(frozen=True)
class Recreate:
    """Deletes and recreates `calls.raw`."""

    kind: str = "recreated"
    side: str = "all"

    def inject(self, house: House) -> Hit:
        name = house.settings.topic("calls.raw")
        client = AdminClient(house.direct.librdkafka(log_level=0))
        found = hit(house, f"{name} deleted and made again")
        client.delete_topics([name], operation_timeout=30)[name].result()
        wait_for(f"{name} to be gone", lambda: name not in client.list_topics(timeout=10).topics, 30, 0.1)
        migrate_topics(house.direct)
        house.raw_epoch += 1
        return found

    def heal(self, house: House, hit: Hit) -> None:
        # So that the producer's first records find the partitions' leader.
        wait_for("the new topic to answer", lambda: _answers(house), 30, 0.1)


def _answers(house: House) -> bool:
    try:
        return all(end == 0 for end in house.ends("calls.raw").values())
    except KeyError:
        time.sleep(0.1)
        return False
