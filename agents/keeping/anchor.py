"""Puts an anchor away once a day (UTC): the latest signed heads, where an administrator of ClickHouse does not reach.

Where to is a setting. A mailbox cannot be asked what is there: a new process mails once more.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from agents.keeping.copy import Copy
from agents.keeping.heads import Heads
from agents.keeping.job import Keeping
from pipeline.audit.anchors import is_of_day, make, name
from pipeline.audit.heads import private_key
from pipeline.errors import RetryableError, UsageError
from pipeline.settings import Settings
from pipeline.storage import anchors

log = logging.getLogger(__name__)

KAFKA_S: Final = 10.0


class Anchor:
    """The job. State: what was put away last."""

    name = "anchor"
    every_s = 600.0

    def __init__(self, copy: Copy, heads: Heads) -> None:
        self._copy = copy
        self._heads = heads
        self._last = ""

    def run(self, at: Keeping) -> None:
        """Put today's anchor away if it is not there."""
        where = anchors.place(at.settings)
        now_ms = time.time_ns() // 1_000_000
        if not where or is_of_day([self._last], now_ms) or is_of_day(anchors.names(where), now_ms):
            return
        try:
            path, self._last = self.put(at, where)
        except UsageError as error:
            raise RetryableError(str(error)) from error
        if path:
            log.info("anchor put away", extra={"path": path})

    def put(self, at: Keeping, where: str) -> tuple[str, str]:
        """Sign what has moved and put an anchor away now; returns where it is and its name, both empty without one."""
        self._heads.sign(at)
        if not self._copy.signed:
            return "", ""
        made = make(
            private_key(at.keys), installation(at.settings), time.time_ns() // 1_000_000, dict(self._copy.signed)
        )
        return anchors.put(at.settings, where, made), name(made)


def installation(settings: Settings) -> str:
    """What an anchor calls an installation.

    Raises:
        RetryableError: Kafka does not answer.
    """
    try:
        found = AdminClient(settings.librdkafka(log_level=3)).list_topics(timeout=KAFKA_S)
    except KafkaException as error:
        raise RetryableError("Kafka does not say what cluster it is") from error
    return f"{found.cluster_id}/{settings.prefix}"
