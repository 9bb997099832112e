"""Time to loss: how long until the oldest record that a stage has not read is deleted. Measured, and told when short.

Deletes nothing and stops nothing. `tokentrail doctor` says the same when asked.
"""

from __future__ import annotations

import logging
from typing import Final

from confluent_kafka.admin import AdminClient

from agents.keeping.job import Keeping
from pipeline import metrics
from pipeline.transport.losses import lags, lives, urgency

log = logging.getLogger(__name__)

_LEVELS: Final = {"early": logging.WARNING, "late": logging.ERROR}


class Losses:
    """The job. State: a connection."""

    name = "losses"
    every_s = 30.0

    def __init__(self) -> None:
        self._client: AdminClient | None = None

    def run(self, at: Keeping) -> None:
        """Set the metric for every reader and partition; say so where a record will not live much longer."""
        if self._client is None:
            self._client = AdminClient(at.settings.librdkafka(**{"log_level": 3, "client.id": "tokentrail-losses"}))
        life_ms = lives(at.settings, self._client)
        for (reader, topic), found in lags(at.settings, self._client).items():
            for lag in found:
                left_ms = lag.left_ms(life_ms[topic])
                metrics.TIME_TO_LOSS.labels(reader, topic, lag.partition).set(left_ms / 1000)
                told = {"reader": reader, "topic": topic, "partition": lag.partition, "records": lag.records}
                if lag.lost:
                    log.error("records were deleted before they were read", extra={**told, "lost": lag.lost})
                if lag.records and (urgent := urgency(lag.age_ms, life_ms[topic])) != "none":
                    log.log(
                        _LEVELS[urgent],
                        "records will be deleted before they are read; start more workers",
                        extra={**told, "left_s": left_ms // 1000},
                    )
