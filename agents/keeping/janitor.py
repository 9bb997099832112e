"""The raw janitor: deletes raw records some hours after their row and their fact, every few minutes.

What may go is decided in `pipeline.audit.janitor`. Must not delete by age alone: that is the topic's own retention.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from agents.keeping.job import Keeping
from pipeline import metrics
from pipeline.transport.janitor import delete, outdated

log = logging.getLogger(__name__)

HOUR_MS: Final = 3_600_000


class Janitor:
    """The job. State: none."""

    name = "janitor"
    every_s = 300.0

    def run(self, at: Keeping) -> None:
        """Delete what has had its row and its fact for `raw_hours`."""
        before_ms = int(time.time() * 1000 - at.settings.raw_hours * HOUR_MS)
        found = outdated(at.settings, at.partitions, before_ms)
        gone = delete(at.settings, found)
        for each in found:
            metrics.RAW_DELETED.labels(each.partition).inc(each.records)
        if gone:
            log.info("raw records deleted", extra={"records": gone, "kept_hours": at.settings.raw_hours})
