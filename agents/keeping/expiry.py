"""Expiry: drops what has had its life and what no legal hold keeps any more, every hour.

By the stamps of the rows only. A policy that keeps less than before needs a person: `tokentrail retention apply`.
"""

from __future__ import annotations

import logging
from typing import Final

from agents.keeping.job import Keeping
from pipeline.storage.expire import drop_expired

log = logging.getLogger(__name__)

HOUR_S: Final = 3_600.0


class Expiry:
    """The job. State: none."""

    name = "expiry"
    every_s = HOUR_S

    def run(self, at: Keeping) -> None:
        """Drop what is due by the server's clock."""
        done = drop_expired(at.settings, at.client, at.partitions)
        for each in done.dropped:
            cell = each.cell
            told = {"table": cell.table, "kept_days": cell.retention_days, "week": cell.week}
            log.info("a week of rows has expired", extra={**told, "rows": each.rows, "held": each.held})
        for table, rows in done.released.items():
            log.info("held rows are let go", extra={"table": table, "rows": rows})
