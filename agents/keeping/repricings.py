"""Settles repricings that a run left open when it was ended: until then the week they are of could not be dropped."""

from __future__ import annotations

import logging

from agents.keeping.job import Keeping
from pipeline.storage.reprice import settle

log = logging.getLogger(__name__)


class Repricings:
    """The job. State: none."""

    name = "repricings"
    every_s = 300.0

    def run(self, at: Keeping) -> None:
        """Count what stands of each open one, and say so in the ledger."""
        settled = settle(at.settings, at.client, at.partitions)
        if settled:
            log.warning("repricings were settled that a run had left open", extra={"repricings": settled})
